"""Memory for what a step keeps until its backward pass, used again by the next.

Rows of other lengths leave holes of other sizes in a heap: a third of the memory lay idle (docs/log.md). On a
GPU torch has a pool of its own.
"""

from __future__ import annotations

import torch
from torch import Tensor


class Pool:
    """Buffers of `most_rows` rows. A buffer that is never given back is simply freed by whoever holds it
    last.
    """

    def __init__(self, most_rows: int, device: torch.device) -> None:
        self._most_rows, self._device = most_rows, device
        self._free: dict[tuple[int, torch.dtype], list[Tensor]] = {}

    def take(self, rows: int, width: int, dtype: torch.dtype) -> Tensor:
        """Return (rows, width), with whatever numbers lie there."""
        free = self._free.setdefault((width, dtype), [])
        if self._device.type != "cpu" or rows > self._most_rows:
            return torch.empty(rows, width, dtype=dtype, device=self._device)
        # pages that no row has reached yet take no memory
        buffer = free.pop() if free else torch.empty(self._most_rows, width, dtype=dtype)
        return buffer[:rows]

    def give(self, *parts: Tensor) -> None:
        """Take back what nobody reads any more."""
        for part in parts:
            buffer = part._base
            if buffer is not None and len(buffer) == self._most_rows:
                self._free[part.shape[1], part.dtype].append(buffer)
