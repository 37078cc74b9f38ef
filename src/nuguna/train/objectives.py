"""What a training can minimise. An objective is one row here; the loop knows none of them."""

from __future__ import annotations

from ..engine.loss import loss_sum
from ..engine.step import Objective
from ..tokens.batch import Batch


def _num_trained(batch: Batch) -> int:
    return len(batch.trained)


# Supervised fine-tuning: the cross-entropy of the answers' tokens, a mean over all of them in the step. A
# mean of the means of examples or micro-batches would weigh short answers more, and change with the
# micro-batch.
SFT = Objective("sft", loss_sum, _num_trained)
