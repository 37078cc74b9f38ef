"""How near the predicted memory is to what a training really takes: a grid of runs, each in a fresh process.

    .venv/bin/python benchmarks/memory.py --json memory.json
    .venv/bin/python benchmarks/memory.py --shape demo         # the quick part
    .venv/bin/python benchmarks/memory.py --again memory.json  # predict anew what was measured then, and measure the rest

Each run goes the program's own way: load the base, take its fingerprint, attach the adapter, train. All
examples have exactly `length` tokens, so that micro-batches are as large as the plan allows. Measured is the
process from its start: the most resident memory on a CPU, the file's own pages of the weights included; the
most allocated memory on a GPU.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))  # this file is started by its path

from benchmarks.engine import make_model  # noqa: E402
from benchmarks.sides import RATE, SEED  # noqa: E402

# The heap grows over the first steps, as new pieces find no room between those in use: in 40 steps of the
# demo model by 12 %, and all but 2 % of it in the first 7.
STEPS = 6
SAMPLE_SECONDS = 0.005
TOKENIZER = ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja")

NAMES = ("shape", "dtype", "micro_batch_size", "length", "lora_r", "gradient_checkpointing")
Run = tuple[str, str, int, int, int, bool]  # in this order
# Weights are stored in bfloat16, as those on the hub are.
GRID: tuple[Run, ...] = (
    ("demo", "float32", 4, 128, 8, False),
    ("demo", "float32", 4, 512, 8, False),
    ("demo", "float32", 4, 512, 64, False),
    ("demo", "float32", 4, 1024, 8, False),
    ("demo", "float32", 64, 64, 32, False),
    ("demo", "float32", 16, 256, 32, True),
    ("demo", "bfloat16", 1, 512, 32, False),
    ("demo", "bfloat16", 8, 512, 32, False),
    ("smollm2-135m", "bfloat16", 4, 128, 16, False),
    ("smollm2-135m", "bfloat16", 4, 128, 16, True),
    ("smollm2-135m", "bfloat16", 4, 512, 16, False),
    ("smollm2-135m", "bfloat16", 2, 512, 16, True),
    ("smollm2-135m", "bfloat16", 4, 256, 64, False),
    ("smollm2-135m", "bfloat16", 1, 1024, 64, False),
    ("smollm2-135m", "float32", 2, 128, 16, False),
    ("smollm2-135m", "float32", 1, 256, 16, True),
    ("qwen3-0.6b", "bfloat16", 1, 128, 16, False),
    ("qwen3-0.6b", "bfloat16", 2, 128, 16, False),
    ("qwen3-0.6b", "bfloat16", 1, 512, 16, False),
    ("qwen3-0.6b", "bfloat16", 1, 256, 16, True),
    ("qwen3-0.6b", "bfloat16", 1, 1024, 64, False),
    ("qwen3-0.6b", "float32", 1, 128, 16, False),
    ("qwen3-0.6b", "float32", 1, 256, 64, False),
    ("qwen3-0.6b", "float32", 1, 256, 16, True),
)


class Watch:
    """The largest resident memory of this process, from now on and since the last mark."""

    def __init__(self) -> None:
        import psutil

        self._process, self._done = psutil.Process(), threading.Event()
        self.most_bytes = self.since_mark = 0
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._done.wait(SAMPLE_SECONDS):
            self.look()

    def look(self) -> int:
        """Return what is resident now."""
        now = int(self._process.memory_info().rss)
        self.most_bytes, self.since_mark = max(self.most_bytes, now), max(self.since_mark, now)
        return now

    def mark(self) -> int:
        """Return the largest since the mark before this one."""
        self.look()
        found, self.since_mark = self.since_mark, 0
        return found


def work(task: dict[str, Any]) -> dict[str, int]:
    """Return one run, in this process."""
    from nuguna.machine.process import prepare

    prepare()
    watch = Watch()
    import torch

    import nuguna.run  # noqa: F401, all that the program has loaded when it loads a model
    from nuguna.base_models.checked import check_model
    from nuguna.engine.forward import find_shortcuts
    from nuguna.model.adapter import attach_adapter, base_fingerprint
    from nuguna.model.load import load_base
    from nuguna.tokens.step_batches import StepBatches
    from nuguna.train.loop import Keep, Silent, train
    from nuguna.train.objectives import SFT

    device = "cuda" if torch.cuda.is_available() else "cpu"
    base_bytes = watch.look()
    loaded = load_base(check_model(Path(task["model"])), dtype=task["dtype"], device=device)
    loading_bytes, loaded_bytes = watch.mark(), watch.look()
    shortcuts = find_shortcuts(loaded.model)
    base_fingerprint(loaded.model)
    fingerprint_bytes = watch.mark()
    model = attach_adapter(
        loaded.model,
        base_name="x",
        lora_r=task["lora_r"],
        lora_alpha=16,
        seed=SEED,
        gradient_checkpointing=task["gradient_checkpointing"],
    )
    examples = _examples(
        loaded.model.config.vocab_size, task["length"], STEPS * task["micro_batch_size"] * task["num_micro"]
    )
    recipe = _recipe(task["micro_batch_size"], task["num_micro"])
    batches = StepBatches(examples, recipe.batch_size, recipe.seed, device, shortcuts.packed)
    tuned = replace(loaded, model=model, shortcuts=shortcuts)
    train(tuned, batches, SFT, recipe, Keep(Path(task["folder"]), "benchmark"), Silent())
    training_bytes = watch.mark()
    peak = torch.cuda.max_memory_allocated() if device == "cuda" else watch.most_bytes
    stages = {
        "base": base_bytes,
        "loading": loading_bytes,
        "loaded": loaded_bytes,
        "fingerprint": fingerprint_bytes,
    }
    return {
        "peak_bytes": peak,
        **{f"{name}_bytes": value for name, value in stages.items()},
        "training_bytes": training_bytes,
    }


def _examples(vocabulary: int, length: int, count: int) -> Any:
    """Random tokens, the first eighth of each a question."""
    from nuguna.tokens.encode import Encoded

    rng = random.Random(SEED)
    trained = tuple(place >= max(1, length // 8) for place in range(length))
    return [
        Encoded(tuple(rng.randrange(5, vocabulary) for _ in range(length)), trained) for _ in range(count)
    ]


def _recipe(micro_batch_size: int, num_micro: int) -> Any:
    from nuguna.train.loop import Recipe

    return Recipe(
        max_steps=STEPS,
        batch_size=micro_batch_size * num_micro,
        micro_batch_size=micro_batch_size,
        learning_rate=RATE,
        warmup_steps=1,
        weight_decay=0.0,
        max_grad_norm=1.0,
        seed=SEED,
        checkpoint_every=STEPS,
    )


def measure(run: Run, folder: Path, num_micro: int) -> dict[str, Any]:
    """Return one run of the grid in a fresh process."""
    settings = dict(zip(NAMES, run, strict=True))
    with tempfile.TemporaryDirectory() as place:
        job = Path(place) / "task.json"
        job.write_text(
            json.dumps({**settings, "num_micro": num_micro, "model": str(folder), "folder": place})
        )
        done = subprocess.run(
            [sys.executable, __file__, "--worker", str(job)], capture_output=True, text=True, check=False
        )
        if done.returncode:
            sys.exit(done.stderr)
        found: dict[str, Any] = json.loads((Path(place) / "result.json").read_text())
        return settings | found


def with_prediction(row: dict[str, Any], base: Any, device: str, num_micro: int) -> dict[str, Any]:
    """Return a measured row, and what was predicted for it."""
    from nuguna.plan.memory import estimate

    names = ("dtype", "micro_batch_size", "lora_r", "gradient_checkpointing")
    settings = {name: row[name] for name in names}
    settings |= {"max_seq_length": row["length"], "accumulates": num_micro > 1}
    found = estimate(base, **settings, quantization="none", device=device)
    error = found.total_bytes / row["peak_bytes"] - 1
    return row | {"predicted_bytes": found.total_bytes, "error": error, "parts": dict(found.parts)}


@contextmanager
def stored_models(shapes: set[str]) -> Iterator[dict[str, Path]]:
    """A folder with weights in bfloat16 and a tokenizer for each shape."""
    from nuguna.base_models.catalog import DEMO_FOLDER

    with tempfile.TemporaryDirectory() as place:
        folders = {}
        for shape in sorted(shapes):
            target = Path(place) / shape
            # in a process of its own: what it takes is no part of this one
            subprocess.run(
                [sys.executable, __file__, "--make", shape, str(target)],
                check=True,
                stderr=subprocess.DEVNULL,
            )
            for name in TOKENIZER:
                shutil.copy(DEMO_FOLDER / name, target / name)
            folders[shape] = target
        yield folders


def _make(shape: str, target: Path) -> None:
    """Write a model of this shape in bfloat16."""
    import torch
    from transformers import AutoModelForCausalLM

    with tempfile.TemporaryDirectory() as place:
        source = make_model(shape, Path(place))
        AutoModelForCausalLM.from_pretrained(source, dtype=torch.bfloat16).save_pretrained(target)


def _print(row: dict[str, Any]) -> None:
    run = f"{row['shape']:<13}{row['dtype']:<9} {row['micro_batch_size']:>2} x {row['length']:<5} r={row['lora_r']:<3}"
    run += "computed twice " if row["gradient_checkpointing"] else " " * 15
    sizes = f"{row['predicted_bytes'] / 2**20:>7,.0f}  {row['peak_bytes'] / 2**20:>7,.0f} MiB"
    print(f"{run}{sizes}  {100 * row['error']:+6.1f} %", flush=True)


def _write(file: Path | None, hardware: Any, rows: list[dict[str, Any]]) -> None:
    if file is not None:
        file.write_text(json.dumps({"machine": hardware.to_json(), "rows": rows}, indent=2) + "\n")


def _conclude(errors: list[float]) -> None:
    sizes = [abs(error) for error in errors]
    print(
        f"{len(errors)} runs: worst error {100 * max(sizes):.1f} %, median {100 * statistics.median(sizes):.1f} %, "
        f"at most {-100 * min(0.0, *errors):.1f} % too low"
    )


def main() -> None:
    """Predict, measure, print the grid, and write JSON if asked to."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--shape", choices=sorted({run[0] for run in GRID}), action="append", help="default: all of the grid"
    )
    parser.add_argument(
        "--again", type=Path, help="JSON of an earlier grid: what it has measured is not measured again"
    )
    parser.add_argument("--micro-batches", type=int, default=1, help="of each step [1]")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--worker", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--make", nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker:
        (args.worker.parent / "result.json").write_text(json.dumps(work(json.loads(args.worker.read_text()))))
        return
    if args.make:
        _make(args.make[0], Path(args.make[1]))
        return
    from nuguna.base_models.catalog import describe_folder
    from nuguna.machine.hardware import detect

    hardware = detect(Path.cwd())
    runs = [run for run in GRID if not args.shape or run[0] in args.shape]
    earlier = (
        {tuple(row[name] for name in NAMES): row for row in json.loads(args.again.read_text())["rows"]}
        if args.again
        else {}
    )
    rows = []
    print(f"{'':<51}predicted, measured, error")
    with stored_models({run[0] for run in runs}) as folders:
        bases = {shape: describe_folder(folder) for shape, folder in folders.items()}
        for run in runs:
            measured = earlier.get(run) or measure(run, folders[run[0]], args.micro_batches)
            device = "cuda" if hardware.device == "cuda" else "cpu"
            rows.append(with_prediction(measured, bases[measured["shape"]], device, args.micro_batches))
            _print(rows[-1])
            _write(args.json, hardware, rows)
    _conclude([row["error"] for row in rows])


if __name__ == "__main__":
    main()
