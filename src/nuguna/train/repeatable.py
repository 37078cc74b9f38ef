"""What the last digits of a training may depend on beside its plan: the machine, the versions, how much goes
through at once.
"""

from __future__ import annotations

import platform
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version

import torch

_LIBRARIES = ("torch", "transformers", "peft")


def this_place(device: str, micro_batch_size: int) -> dict[str, str]:
    """Return what numbers may depend on in their last digits, beside the plan: machine, versions, how much
    goes through at once.
    """
    found = {name: version(name) for name in _LIBRARIES}
    threads = str(torch.get_num_threads()) if device == "cpu" else ""
    machine = {"machine": platform.machine(), "device": device, "threads": threads}
    return {**found, **machine, "at_once": str(micro_batch_size)}


@contextmanager
def repeatable(is_on: bool, device: str) -> Iterator[None]:
    """While the block runs, a CUDA GPU computes the same bits every time, or raises where it has no such way.
    Others do in any case, or cannot (MPS).
    """
    before = torch.are_deterministic_algorithms_enabled()
    if device == "cuda":
        torch.use_deterministic_algorithms(is_on)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)
