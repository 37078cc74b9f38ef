"""An example as the model sees it: its tokens, and which of them are trained."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True, eq=False, init=False)
class Encoded:
    """One example. `loss_mask[i]` says whether token i is a target of the loss; the first token never is.

    An example without any trained token is too long for the window and cannot be used. Other sequences become
    arrays.
    """

    ids: NDArray[np.int32]  # (tokens,)
    loss_mask: NDArray[np.bool_]  # (tokens,)
    cut: bool = False  # longer than the window: what was said first is missing, never the end of an answer

    def __init__(self, ids: ArrayLike, loss_mask: ArrayLike, cut: bool = False) -> None:
        object.__setattr__(self, "ids", np.asarray(ids, dtype=np.int32))
        object.__setattr__(self, "loss_mask", np.asarray(loss_mask, dtype=np.bool_))
        object.__setattr__(self, "cut", cut)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Encoded):
            return NotImplemented
        return self.cut == other.cut and bool(
            np.array_equal(self.ids, other.ids) and np.array_equal(self.loss_mask, other.loss_mask)
        )

    __hash__ = None  # type: ignore[assignment]  # arrays have none either

    @property
    def num_trained(self) -> int:
        """How many tokens the loss is taken over."""
        return int(np.count_nonzero(self.loss_mask))
