"""Faults of a disk, one at a time: at the N-th operation of a save, in the bytes of a checkpoint, and a disk
that is full.

Used by benchmarks/survive.py, and in small by tests/train/test_survive.py.
"""

from __future__ import annotations

import errno
import os
import random
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch

from nuguna.errors import EnvironmentFault
from nuguna.train.checkpoint import Progress, find_checkpoint, resume, save_checkpoint

OPERATIONS = ("open", "write", "fsync", "close", "fstat", "mkdir", "replace", "unlink", "rmdir", "scandir")
MARK = "mark"


class Killed(BaseException):
    """The process is dead: nothing more of it happens on the disk."""


class Fault:
    """Lets one operation on the disk fail, and counts them. `kind`: kill, ENOSPC, EIO, EACCES, short (a write
    takes a part only), or full (from then on nothing can be written or made any more).
    """

    def __init__(self, kind: str, at: int) -> None:
        self.kind, self.at, self.count, self.has_struck = kind, at, 0, False

    def wrap(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        """Return the operation with the fault in it."""

        def operation(*args: Any, **kwargs: Any) -> Any:
            self.count += 1
            if self.count < self.at or (self.has_struck and self.kind not in ("kill", "full")):
                return real(*args, **kwargs)
            if self.kind == "short":
                if name != "write":
                    return real(*args, **kwargs)
                self.has_struck = True
                return real(args[0], bytes(args[1])[: max(1, len(args[1]) // 2)])
            if self.kind == "full" and name not in ("open", "write", "mkdir"):
                return real(*args, **kwargs)
            self.has_struck = True
            if self.kind == "kill":
                raise Killed
            raise OSError(getattr(errno, "ENOSPC" if self.kind == "full" else self.kind), "injected")

        return operation

    @contextmanager
    def injected(self) -> Iterator[None]:
        """While the block runs, the fault can strike."""
        patches = [patch.object(os, name, self.wrap(name, getattr(os, name))) for name in OPERATIONS]
        for one in patches:
            one.start()
        try:
            yield
        finally:
            for one in patches:
                one.stop()


class State:
    """A small adapter with an optimizer, whose content is a function of the step."""

    def __init__(self, num_parameters: int = 4, size: int = 24) -> None:
        self.parameters = {
            f"layer.{i}.lora_A": torch.nn.Parameter(torch.zeros(size)) for i in range(num_parameters)
        }
        self.optimizer = torch.optim.AdamW(self.parameters.values(), fused=True)

    def at(self, step: int) -> State:
        """As it is after a step."""
        generator = torch.Generator().manual_seed(step)
        for parameter in self.parameters.values():
            with torch.no_grad():
                parameter.copy_(torch.randn(parameter.shape, generator=generator))
            moments = {
                key: torch.randn(parameter.shape, generator=generator) for key in ("exp_avg", "exp_avg_sq")
            }
            self.optimizer.state[parameter] = {"step": torch.tensor(float(step)), **moments}
        return self

    def save(self, folder: Path, step: int) -> None:
        """Keep a step."""
        save_checkpoint(
            folder, MARK, Progress(step, 10 * step, 1.0), self.at(step).parameters, self.optimizer
        )

    def tensors(self) -> list[torch.Tensor]:
        """Return all that a checkpoint holds."""
        states = [
            self.optimizer.state[p][key]
            for p in self.parameters.values()
            for key in ("exp_avg", "exp_avg_sq", "step")
        ]
        return [*(p.detach() for p in self.parameters.values()), *states]

    def loaded(self, folder: Path) -> int:
        """Return the step that a fresh process would go on from; -1 if other numbers than that step's were
        loaded, -2 if it would end with a traceback.
        """
        fresh = State(len(self.parameters), len(next(iter(self.parameters.values()))))
        try:
            resumed = resume(folder, MARK, fresh.parameters, fresh.optimizer)
        except Exception:  # noqa: BLE001 - whatever it is, the run would end with a traceback
            return -2
        if resumed is None:
            return 0
        expected = State(len(self.parameters), len(next(iter(self.parameters.values())))).at(
            resumed.progress.step
        )
        same = all(torch.equal(a, b) for a, b in zip(fresh.tensors(), expected.tensors(), strict=True))
        return resumed.progress.step if same else -1


def faults_of_a_save(
    folder: Path, kinds: tuple[str, ...] = ("kill", "ENOSPC", "EIO", "EACCES", "short", "full")
) -> list[str]:
    """Save step 3 over 1 and 2 with a fault at each operation in turn. Returns what went wrong, one line
    each; the last line is how many trials there were.
    """
    wrong, num_trials = [], 0
    for kind in kinds:
        at = 0
        while True:
            at += 1
            place, state, fault = folder / f"{kind}-{at}", State(), Fault(kind, at)
            for step in (1, 2):
                state.save(place, step)
            refused = False
            with fault.injected():
                try:
                    state.save(place, 3)
                except EnvironmentFault:
                    refused = True
                except Killed:
                    pass
            num_trials += 1
            found = state.loaded(place)
            if found not in (2, 3) or (found == 2 and not refused and kind != "kill"):
                wrong.append(
                    f"{kind} at operation {at}: step {found} is loaded, {'refused' if refused else 'reported saved'}"
                )
            state.save(place, 4)  # the disk is well again
            if state.loaded(place) != 4:
                wrong.append(f"{kind} at operation {at}: the next save is lost")
            shutil.rmtree(place)
            if not fault.has_struck:
                break
    return [*wrong, str(num_trials)]


def damages(folder: Path, every: int = 1, num_flips: int = 200, seed: int = 0) -> list[str]:
    """Cut each file of a checkpoint at every `every`-th byte, flip bits, delete it, swap it with another
    step's: the step before has to be loaded. Returns what went wrong, and as last line the number of trials.
    """
    draw, state, wrong, num_trials = random.Random(seed), State(2, 4), [], 0
    for step in (1, 2):
        state.save(folder, step)
    place = folder / "checkpoints"
    older, newest = place / "step-000001", place / "step-000002"
    whole = {file.name: file.read_bytes() for file in newest.iterdir()}
    for name, data in whole.items():
        trials: list[tuple[str, bytes | None]] = [
            (f"cut at {n}", data[:n]) for n in range(0, len(data), every)
        ]
        for _ in range(num_flips):
            bit = draw.randrange(8 * len(data))
            flipped = bytearray(data)
            flipped[bit // 8] ^= 1 << (bit % 8)
            trials.append((f"bit {bit}", bytes(flipped)))
        trials += [("deleted", None), ("swapped", (older / name).read_bytes()), ("longer", data + b"\0")]
        for what, changed in trials:
            if changed == data:
                continue
            num_trials += 1
            (newest / name).unlink()
            if changed is not None:
                (newest / name).write_bytes(changed)
            if (found := state.loaded(folder)) != 1:
                wrong.append(f"{name} {what}: step {found} is loaded")
            for damaged in place.glob("damaged-*"):
                damaged.rename(newest)
            (newest / name).unlink(missing_ok=True)
            (newest / name).write_bytes(data)
    if find_checkpoint(folder, MARK) != newest:
        wrong.append("the whole checkpoint is not found any more")
    return [*wrong, str(num_trials)]


@contextmanager
def small_disk(folder: Path, size: str = "4m") -> Iterator[bool]:
    """A real file system of that size mounted on `folder`; False where it cannot be (no root)."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    try:
        is_mounted = subprocess.run(command, capture_output=True, check=False).returncode == 0
    except OSError:
        is_mounted = False
    try:
        yield is_mounted
    finally:
        if is_mounted:
            subprocess.run(["umount", str(folder)], check=True)  # noqa: S607 - the system's own


def full_disk(folder: Path) -> list[str]:
    """Save on a real file system that fills up and is given room again. Returns what went wrong, and the
    number of trials.
    """
    wrong, num_refused = [], 0
    with small_disk(folder) as is_mounted:
        if not is_mounted:
            return ["0"]
        state, filler = State(4, 20_000), folder / "filler"  # about 0.9 MiB a checkpoint
        run = folder / "run"
        kept = 0
        for step in range(1, 13):
            if step == 4:
                with open(filler, "wb", buffering=0) as file:
                    try:
                        while True:
                            file.write(b"\0" * 4096)
                    except OSError:
                        pass
            if step == 9:
                filler.unlink()
            try:
                state.save(run, step)
                kept = step
            except EnvironmentFault:
                num_refused += 1
            if state.loaded(run) != kept:
                wrong.append(f"step {step}: {state.loaded(run)} is loaded, {kept} was reported saved")
        if kept != 12 or not num_refused:
            wrong.append(f"kept {kept}, refused {num_refused}")
    return [*wrong, str(12)]
