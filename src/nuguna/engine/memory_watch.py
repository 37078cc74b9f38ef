"""Memory that runs out: seen before the system ends the program, recognised when it happens, freed, and the
work cut smaller.

On a CPU nothing fails when memory is short: Linux hands out what it does not have and kills the program
later. So what is left is read on the way, and an error of our own comes first.
"""

from __future__ import annotations

import ctypes
import gc
import platform
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, TypeVar

import psutil
import torch

from ..errors import OutOfMemoryError
from ..machine.container import container_memory_left, container_memory_limit
from ..machine.probe import Machine, this_machine
from ..message import Message, say
from .adapter import find_blocks
from .causal_lm import CausalLM
from .sizes import LOGITS_BYTES

T = TypeVar("T")

EVERY_SECONDS = 0.01  # how often it is read what is left
SPARE_BYTES = 64 * 2**20  # what has to be left, and a hundredth of all there is
SPARE_SHARE = 0.01
# times its input is what a block is taken to need before one was seen (demo: 12; docs/log.md)
FIRST_BLOCK = 16
# How torch's allocators, its matrix libraries and C++ say it (torch 2.13: c10/core/impl/alloc_cpu.cpp,
# MPSAllocator.mm, cuBLAS)
_SIGNS = (
    "out of memory",
    "can't allocate memory",
    "not enough memory",
    "failed to allocate",
    "could not allocate",
    "alloc_failed",
    "bad_alloc",
    "cannot allocate memory",
)


class ShortageError(MemoryError):
    """Little memory is left, and the system would soon end the program."""


def is_shortage(error: BaseException) -> bool:
    """Return whether an error says that memory ran out, on whatever device."""
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    text = str(error).lower()
    return isinstance(error, RuntimeError) and any(sign in text for sign in _SIGNS)


def attempt(work: Callable[[], T]) -> T | None:
    """Return what `work` gives; None when memory ran out. Then all that it held is let go."""
    try:
        return work()
    except (RuntimeError, MemoryError) as error:
        if not is_shortage(error):
            raise
        traceback.clear_frames(error.__traceback__)
    free()
    return None


def in_smaller_pieces(
    work: Callable[[int], T], size: int, *, least: int = 1, on_less: Callable[[int], None]
) -> T:
    """Return what `work` gives for a size, never None; where memory runs out, all is done again for half the
    size, down to `least`.

    Raises `OutOfMemoryError` when even that does not fit. `work` must change nothing that a second try would
    find.
    """
    while (found := attempt(partial(work, size))) is None:
        if size <= least:
            raise no_memory(say("Even the smallest piece of work does not fit into memory."))
        size = max(least, size // 2)
        on_less(size)
    return found


def free() -> None:
    """Give back what nobody holds any more."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    elif torch.backends.mps.is_available():
        torch.mps.empty_cache()
    if platform.libc_ver()[0] == "glibc":
        with suppress(OSError, AttributeError):
            ctypes.CDLL("libc.so.6").malloc_trim(0)


@contextmanager
def watched(model: CausalLM) -> Iterator[None]:
    """While the block runs, each block of a model on a CPU begins with a look at what is left; too little
    raises `ShortageError`.
    """
    if next(model.parameters()).device.type != "cpu":  # there the allocator itself says it in time
        yield
        return
    watch = _Watch()
    _, blocks = find_blocks(model)
    hooks = [
        block.register_forward_pre_hook(
            partial(watch.look, is_first=block is blocks[0], is_last=block is blocks[-1]), with_kwargs=True
        )
        for block in blocks
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


class _Watch:
    """Looks at what is left; for more tokens than ever passed, also whether what comes before the next look
    has room.

    A block takes about what the one before it took. Freed memory stays with the process, so that as many
    tokens as passed before need nothing more.
    """

    def __init__(self) -> None:
        self._next_look = 0.0
        limits = (psutil.virtual_memory().total, _limit())
        self._spare = SPARE_BYTES + int(SPARE_SHARE * min(limit for limit in limits if limit is not None))
        self._now = self._passed = 0  # tokens that go through now, and the most that went through
        self._left, self._largest = 0, 0  # at the last look; what the hungriest block took

    def look(
        self, block: object, args: tuple[Any, ...], kwargs: dict[str, Any], *, is_first: bool, is_last: bool
    ) -> None:
        """Before a block. Raises `ShortageError`."""
        x: torch.Tensor = args[0] if args else kwargs["hidden_states"]
        if is_first:
            self._passed = max(self._passed, self._now)
            self._now = x.numel() // x.shape[-1]
        is_new, now = self._now > self._passed, time.monotonic()
        if not is_new and now < self._next_look:
            return
        self._next_look = now + EVERY_SECONDS
        left = memory_left()
        self._largest = 0 if is_first else max(self._largest, self._left - left)
        self._left = left
        if left < self._spare + (self._expected(x, is_last) if is_new else 0):
            self._now = 0
            raise ShortageError

    def _expected(self, x: torch.Tensor, is_last: bool) -> int:
        """Return bytes until the next look; behind the last block these are the block, its backward pass, and
        a chunk of logits.
        """
        block = self._largest or FIRST_BLOCK * x.nbytes
        return 2 * block + LOGITS_BYTES if is_last else block


def memory_left() -> int:
    """Return bytes of RAM that this process may still take, in its container too. Swap does not count: it is
    slower than waiting.
    """
    available = int(psutil.virtual_memory().available)
    left = container_memory_left(_machine()) if _limit() is not None else None
    return available if left is None else min(available, left)


@lru_cache(maxsize=1)
def _limit() -> int | None:
    """Return the limit of the container, None if the machine has no more anyway.

    Looking anew took a twenty-fifth of a small model's step.
    """
    limit = container_memory_limit(_machine())
    return limit if limit is not None and limit < psutil.virtual_memory().total else None


@lru_cache(maxsize=1)
def _machine() -> Machine:
    return this_machine(Path.cwd())


def no_memory(what: Message, seen: Message | None = None) -> OutOfMemoryError:
    """Nothing smaller is left to try."""
    return OutOfMemoryError(
        what,
        seen=seen,
        fix=say(
            "Close other programs, or process less at once: {command}",
            command="BATCH_SIZE=1 MAX_STEPS=50 MAX_SEQ_LENGTH=128 OUTPUT_DIR=./quick_test ./run.sh",
        ),
    )
