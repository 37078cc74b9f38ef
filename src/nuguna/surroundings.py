"""What the last digits of a training may depend on beside its plan: the machine, the versions, how much goes through at once."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version

import torch

from .checkpoint import Resumed
from .events import Note, Tell
from .message import say
from .plan import Plan

_LIBRARIES = ("torch", "transformers", "peft")
_NAMES = {
    "machine": say("the kind of processor"),
    "device": say("where it is computed"),
    "threads": say("threads of the processor"),
    "at_once": say("examples at once"),
}


def this_place(plan: Plan) -> dict[str, str]:
    """What numbers may depend on in their last digits, beside the plan: machine, versions, how much goes through at once."""
    found = {name: version(name) for name in _LIBRARIES}
    threads = str(torch.get_num_threads()) if plan.device.value == "cpu" else ""
    machine = {"machine": platform.machine(), "device": plan.device.value, "threads": threads}
    return {**found, **machine, "at_once": str(plan.micro_batch_size.value)}


@contextmanager
def repeatable(is_on: bool, device: str) -> Iterator[None]:
    """Within, a CUDA GPU computes the same bits every time, or raises where it has no such way. Others do in any case, or cannot
    (MPS).
    """
    before = torch.are_deterministic_algorithms_enabled()
    if device == "cuda":
        torch.use_deterministic_algorithms(is_on)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)


def tell_resumed(resumed: Resumed, plan: Plan, tell: Tell) -> None:
    """Say from where it goes on, and what is not as it was."""
    tell(Note(say("Going on after step {step}.", step=resumed.progress.step)))
    now = this_place(plan)
    for name, then in resumed.made_on.items():
        if name in now and now[name] != then:
            change = {"what": _NAMES.get(name, say("{name}", name=name)), "then": then, "now": now[name]}
            tell(Note(say("Not as before: {what} ({then} → {now}). Numbers may differ in their last digits.", **change)))
