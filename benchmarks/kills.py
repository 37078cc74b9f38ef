"""Ends of a training that nobody planned: SIGKILL at any moment, Ctrl-C and SIGTERM in every phase. Each in a
forked process.

The parent has loaded all libraries and computes nothing itself, so that a child begins at once. Used by
benchmarks/survive.py.
"""

from __future__ import annotations

import os
import random
import select
import signal
import sys
import time
import traceback
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from safetensors.torch import load_file

from nuguna import Request
from nuguna.run import run
from nuguna.stages.events import Event, Saved, Stage
from nuguna.train import checkpoint as checkpoints
from nuguna.train import manifest

PHASES = (
    "Looking at",
    "Reading the",
    "Loading the",
    "Measuring the base",
    "Training",
    "Measuring the trained",
    "Proving",
)
ENDS = (0, 1)  # a run that is over; 1: so small a model passes not every check
MAX_SECONDS = 120.0  # a child that takes longer hangs


class Child:
    """A forked process that does `work` and tells lines through a pipe; `work` gets the function that tells
    one.
    """

    def __init__(self, work: Callable[[Callable[[str], None]], int], output: Path) -> None:
        self._read, write = os.pipe()
        self.began = time.monotonic()
        self.pid = os.fork()
        if self.pid == 0:
            self._be(work, write, output)
        os.close(write)
        self.lines: list[str] = []
        self._rest = b""

    def _be(self, work: Callable[[Callable[[str], None]], int], write: int, output: Path) -> None:
        def tell(line: str) -> None:
            os.write(write, f"{line}\n".encode())

        code = 99
        try:
            os.close(self._read)
            handle = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            os.dup2(handle, 1)
            os.dup2(handle, 2)
            code = work(tell)
        except SystemExit as error:
            code = error.code if isinstance(error.code, int) else 1
        except BaseException:  # noqa: BLE001 - a child must never go on as its parent
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            os._exit(code)

    def wait_for(self, is_enough: Callable[[list[str]], bool], seconds: float) -> bool:
        """Read lines until they are enough, the child has ended, or the time is over."""
        end = time.monotonic() + seconds
        while not is_enough(self.lines) and (left := end - time.monotonic()) > 0:
            if not select.select([self._read], [], [], left)[0]:
                break
            data = os.read(self._read, 65536)
            if not data:
                return is_enough(self.lines)
            *whole, self._rest = (self._rest + data).split(b"\n")
            self.lines += [line.decode() for line in whole]
        return is_enough(self.lines)

    def end(self, seconds: float = MAX_SECONDS) -> int | None:
        """Return the exit code, negative for a signal, when it has ended; None (and it is killed) if it does
        not.
        """
        self.wait_for(lambda lines: False, 0.01)
        limit = time.monotonic() + seconds
        while time.monotonic() < limit:
            self.wait_for(lambda lines: False, 0.005)
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                os.close(self._read)
                return os.waitstatus_to_exitcode(status)
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        os.close(self._read)
        return None


def training(model: Path, data: Path, folder: Path, say: Callable[[str], None]) -> int:
    """Return a whole small run that keeps every step and tells its phases, what it keeps, and when it begins
    to.
    """
    from nuguna.stages import train as stages
    from nuguna.train import loop as train
    from nuguna.train.checkpoint import save_checkpoint as real

    os.chdir(folder.parent)

    def announced(*args: Any, **kwargs: Any) -> Path:
        say("saving")
        return real(*args, **kwargs)

    train.save_checkpoint = announced  # type: ignore[attr-defined]
    stages.Recipe = lambda **values: train.Recipe(**{**values, "saving_share": 1e9})  # type: ignore[assignment, attr-defined]

    def tell(event: Event) -> None:
        if isinstance(event, Stage):
            say(f"stage {event.message}")
        elif isinstance(event, Saved):
            say(f"saved {event.step}")

    run(_request(model, data, folder), tell=tell, edited={"checkpoint_every": 1, "heldout_examples": 4})
    return 0


def _request(model: Path, data: Path, folder: Path) -> Request:
    return Request(
        model=str(model),
        data=str(data),
        output_dir=str(folder),
        max_steps=12,
        batch_size=4,
        learning_rate=0.003,
        lora_r=4,
    )


def _has_saved(times: int, lines: list[str]) -> bool:
    return lines.count("saving") >= times


def _has_reached(phase: str, lines: list[str]) -> bool:
    return any(line.startswith(f"stage {phase}") for line in lines)


def kills(place: Path, model: Path, data: Path, num_trials: int, seed: int = 0) -> list[str]:
    """Kill runs at random moments, half of them within a save, and start them again, until there were
    `num_trials` kills. Returns what went wrong, and as last line the number of kills.
    """
    draw, wrong, count = random.Random(seed), [], 0
    expected, seconds = _whole(place, model, data)
    number = 0
    while count < num_trials:
        number += 1
        folder, kept = place / f"run{number}" / "results", 0
        folder.parent.mkdir()
        for _ in range(40):
            child = Child(partial(training, model, data, folder), folder.parent / "output")
            if count % 2:  # into a save: the n-th that it announces, and a little later
                nth = draw.randint(1, 6)
                child.wait_for(partial(_has_saved, nth), MAX_SECONDS)
                time.sleep(draw.random() * 0.01)
            else:
                child.wait_for(lambda lines: False, draw.random() * 1.2 * seconds)
            is_over = os.waitpid(child.pid, os.WNOHANG)[0] != 0
            if not is_over:
                os.kill(child.pid, signal.SIGKILL)
                os.waitpid(child.pid, 0)
                count += 1
            child.wait_for(lambda lines: False, 0.05)
            os.close(child._read)
            kept = max([kept, *(int(line.split()[1]) for line in child.lines if line.startswith("saved"))])
            found = _newest(folder)
            if is_over or (folder / "report.json").exists():
                break
            if found < kept:
                wrong.append(f"run {number}: step {kept} was reported saved, {found} is there")
        else:
            child = Child(partial(training, model, data, folder), folder.parent / "output")
            if child.end() != 0:
                wrong.append(
                    f"run {number} cannot be resumed: {(folder.parent / 'output').read_text()[-800:]}"
                )
                continue
        if (folder / "report.json").exists() and not _equals(expected, folder):
            wrong.append(f"run {number} ended otherwise than one that was never killed")
        if not (folder / "report.json").exists():
            wrong.append(
                f"run {number} ended without a report: {(folder.parent / 'output').read_text()[-800:]}"
            )
    return [*wrong, str(count)]


def requests(place: Path, model: Path, data: Path, num_trials: int, seed: int = 0) -> list[str]:
    """Ctrl-C or SIGTERM in each phase in turn, through the command itself: it ends with 130 or 143, soon, and
    goes on to the same adapter. Returns what went wrong, and as last lines the slowest end in seconds and the
    number of trials.
    """
    draw, wrong, slowest = random.Random(seed), [], 0.0
    expected, seconds = _whole(place, model, data)
    for trial in range(num_trials):
        folder, phase = place / f"request{trial}" / "results", PHASES[trial % len(PHASES)]
        folder.parent.mkdir()
        number = (signal.SIGINT, signal.SIGTERM)[trial // len(PHASES) % 2]
        child = Child(partial(_command, model, data, folder), folder.parent / "output")
        child.wait_for(partial(_has_reached, phase), MAX_SECONDS)
        time.sleep(draw.random() * seconds / len(PHASES))
        asked = time.monotonic()
        os.kill(child.pid, number)
        code = child.end()
        slowest = max(slowest, time.monotonic() - asked)
        output = (folder.parent / "output").read_text()
        if code not in (128 + number, *ENDS) or "Traceback" in output or "Exception ignored" in output:
            wrong.append(f"{phase}: exit {code} on {signal.Signals(number).name}: {output[-800:]}")
        if code not in ENDS:
            again = Child(partial(_command, model, data, folder), folder.parent / "output")
            code = again.end()
        if code not in ENDS or not _equals(expected, folder):
            wrong.append(f"{phase}: it does not go on to the same adapter (exit {code})")
    return [*wrong, f"{slowest:.2f}", str(num_trials)]


def _command(model: Path, data: Path, folder: Path, say: Callable[[str], None]) -> int:
    """`nuguna train` as it is typed, with its screen told to us as well."""
    from nuguna import cli
    from nuguna.ui import screen

    os.chdir(folder.parent)
    real = screen.Screen.__call__

    def told(self: Any, event: Event) -> None:
        if isinstance(event, Stage):
            say(f"stage {event.message}")
        real(self, event)

    screen.Screen.__call__ = told  # type: ignore[method-assign]
    request = _request(model, data, folder)
    values = {
        name: getattr(request, name)
        for name in ("model", "max_steps", "batch_size", "learning_rate", "lora_r")
    }
    flags = [word for name, value in values.items() for word in (f"--{name.replace('_', '-')}", str(value))]
    plan = folder.parent / "wishes.toml"
    plan.write_text("checkpoint_every = 1\nheldout_examples = 4\n")
    sys.argv = [
        "nuguna",
        "train",
        *flags,
        "--data",
        str(data),
        "--output-dir",
        str(folder),
        "--plan",
        str(plan),
    ]
    cli.main()
    return 0


def _whole(place: Path, model: Path, data: Path) -> tuple[dict[str, Any], float]:
    """Return the adapter of a run that nobody disturbs, and how long it took."""
    folder = place / "whole" / "results"
    if not folder.exists():
        folder.parent.mkdir(parents=True)
    began = time.monotonic()
    child = Child(lambda say: training(model, data, folder, say), folder.parent / "output")
    if child.end() != 0:
        raise SystemExit((folder.parent / "output").read_text())
    return load_file(folder / "adapter_model.safetensors"), time.monotonic() - began


def _newest(folder: Path) -> int:
    """Return the step of the newest whole checkpoint; nothing is changed."""
    for checkpoint in checkpoints._checkpoints(folder / "checkpoints"):
        try:
            facts = manifest.read_manifest(checkpoint)
            manifest.verify_all(checkpoint, facts)
        except manifest.DamagedError:
            continue
        return int(facts["step"])
    return 0


def _equals(expected: dict[str, Any], folder: Path) -> bool:
    found = load_file(folder / "adapter_model.safetensors")
    return found.keys() == expected.keys() and all(
        bool((found[name] == expected[name]).all()) for name in found
    )
