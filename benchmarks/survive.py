"""What a training survives, measured: python -m benchmarks.survive [--only NAME] [--trials N] [--json FILE]

NAMES: faults (each operation of a save fails in turn), damage (each file cut at every byte, 200 bits
flipped), disk (a real file system that fills up), resume (stopped after each of 24 steps, with three sizes of
micro-batches), kills (200 times SIGKILL), requests (100 times Ctrl-C or SIGTERM, in each phase in turn), cost
(what saving costs). Ends with 1 if anything was lost.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

os.environ.update(HF_HUB_OFFLINE="1", NUGUNA_LANG="en", OMP_NUM_THREADS="1", TOKENIZERS_PARALLELISM="false")

from nuguna.machine.process import prepare  # noqa: E402

prepare()

import torch  # noqa: E402

from benchmarks import faults, kills  # noqa: E402
from tests.conftest import make_model_folder, write_pairs  # noqa: E402

TRIALS = {"kills": 200, "requests": 100}
FIGURES = {"requests": "slowest_end_seconds", "cost": "percent_of_the_time"}
MAX_PERCENT = 2.0


def main() -> int:
    """Measure what is asked for, print a line for each, and write the rows."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    names = ("faults", "damage", "disk", "resume", "kills", "requests", "cost")
    parser.add_argument("--only", choices=names, action="append")
    parser.add_argument("--trials", type=int, help="kills or requests")
    parser.add_argument("--json", type=Path, metavar="FILE")
    asked = parser.parse_args()
    torch.set_num_threads(1)  # a forked process must not wait for threads that only its parent has
    rows = []
    with tempfile.TemporaryDirectory() as place:
        for name in asked.only or names:
            began = time.monotonic()
            *wrong, num_trials = measure(name, Path(place), asked.trials or TRIALS.get(name, 0))
            more = {} if name not in FIGURES else {FIGURES[name]: float(wrong.pop())}
            row = {
                "name": name,
                "num_trials": int(num_trials),
                "num_failed": len(wrong),
                "seconds": time.monotonic() - began,
            }
            rows.append({**row, **more})
            print(
                ", ".join(
                    f"{key} {round(value, 1) if isinstance(value, float) else value}"
                    for key, value in rows[-1].items()
                )
            )
            for line in wrong:
                print("  FAILED", line)
    if asked.json:
        machine = {"system": platform.platform(), "torch": torch.__version__}
        asked.json.write_text(json.dumps({"machine": machine, "rows": rows}, indent=2) + "\n")
    return int(any(row["num_failed"] for row in rows))


def measure(name: str, place: Path, num_trials: int) -> list[str]:
    """Return what went wrong, one line each, and as last line the number of trials."""
    folder = place / name
    plain: dict[str, Callable[[Path], list[str]]] = {
        "faults": faults.faults_of_a_save,
        "damage": faults.damages,
        "disk": faults.full_disk,
        "resume": resumes,
        "cost": cost,
    }
    if name in plain:
        return plain[name](folder)
    folder.mkdir()
    model = _in_a_child(lambda: make_model_folder(folder / "model"), folder / "model")
    data = write_pairs(folder / "pairs.jsonl")
    return (kills.kills if name == "kills" else kills.requests)(folder, model, data, num_trials)


def resumes(folder: Path) -> list[str]:
    """Stop a training of 24 steps after each of them, with three sizes of micro-batches, and compare what it
    goes on to.
    """
    from tests.train.test_survive import LONG, stopped_and_whole

    folder.mkdir()
    model = make_model_folder(folder / "model")
    wrong, num_trials = [], 0
    for micro_batch_size in (4, 2, 1):
        for stop_at in range(1, LONG.max_steps):
            num_trials += 1
            where = folder / f"{micro_batch_size}-{stop_at}"
            if not stopped_and_whole(where, model, micro_batch_size, stop_at):
                wrong.append(
                    f"stopped after step {stop_at}, micro-batches of {micro_batch_size}: not the same"
                )
    return [*wrong, str(num_trials)]


def cost(folder: Path) -> list[str]:
    """Train the shape of SmolLM2-135M for 40 steps, save four times as a plan would, and compare the times.
    Returns what went wrong, the percentage, and how often it was saved.
    """
    from benchmarks import engine, sides
    from nuguna.machine.hardware import detect
    from nuguna.train import loop as train
    from nuguna.train.checkpoint import save_checkpoint as real

    torch.set_num_threads(os.cpu_count() or 1)
    folder.mkdir()
    place = engine.make_model("smollm2-135m", folder / "model")
    examples = engine.make_examples(49152, 200)
    seconds: list[float] = []

    def timed(*args: Any, **kwargs: Any) -> Path:
        began = time.perf_counter()
        try:
            return real(*args, **kwargs)
        finally:
            seconds.append(time.perf_counter() - began)

    task = {
        "model": str(place),
        "dtype": detect(folder).dtype,
        "steps": 40,
        "batch_size": 4,
        "micro_batch_size": 4,
    }
    task |= {"examples": examples, "folder": str(folder / "run")}
    usual = sides.recipe
    sides.recipe = lambda task: replace(usual(task), checkpoint_every=10)
    with patch.object(train, "save_checkpoint", timed):
        began = time.perf_counter()
        sides.run_ours(task)
        whole = time.perf_counter() - began
    percent = 100 * sum(seconds) / whole
    sizes = sum(file.stat().st_size for file in next((folder / "run" / "checkpoints").iterdir()).iterdir())
    print(
        f"{len(seconds)} saves of {sizes / 1e6:.0f} MB: {', '.join(f'{s:.2f}' for s in seconds)} s of {whole:.0f} s"
    )
    wrong = [f"saving took {percent:.1f} % of the time"] if percent > MAX_PERCENT else []
    return [*wrong, f"{percent:.2f}", str(len(seconds))]


def _in_a_child(work: Callable[[], object], made: Path) -> Path:
    """Do something in a process of its own, so that this one has no threads and computes nothing."""
    pid = os.fork()
    if pid == 0:
        try:
            work()
        finally:
            os._exit(0)
    os.waitpid(pid, 0)
    return made


if __name__ == "__main__":
    sys.exit(main())
