"""Sizes that the engine works with and the planner counts with; no torch here, so that planning is instant.

Those that differ by device stand in `machine.device_profile`.
"""

from __future__ import annotations

# Of logits at once, in the model's dtype. Each chunk reads the whole head: an eighth of this made the loss
# half as slow again (docs/log.md).
LOGITS_BYTES = 64 * 2**20

# the most that are made together; fewer, if their keys and values would take too much memory
ANSWERS_AT_ONCE = 64
MAX_ANSWERING_TOKENS = 8_192  # of questions and answers at once
# What keys and values of answers may take: at most, also where no plan says how much there is (about 100 KB a
# token of a model of 0.6 billion), and at least.
MAX_CACHE_BYTES, MIN_CACHE_BYTES = 2**30, 64 * 2**20
MIN_NEW_TOKENS, MAX_NEW_TOKENS = 32, 256  # of an answer that is measured
# on subjects that no training example has; fewer than the others: reported beside them, not judged
MAX_UNSEEN_ANSWERS = 32
