"""Memory, speed and loss of training on weights of 4, 8 and 16 bits, each in a fresh process with the same
steps.

    .venv/bin/python benchmarks/quantization.py --shape smollm2-135m --steps 8 --json quantization.json

Random weights say nothing about how well a quantized model learns; for the loss take `--shape demo`, which
reads the medical set.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))  # this file is started by its path

from benchmarks.engine import SHAPES, make_examples, make_model  # noqa: E402
from benchmarks.sides import SEED, WARM_UP_STEPS, train_ours  # noqa: E402

KINDS = ("none", "8bit", "4bit")


def work(task: dict[str, Any]) -> dict[str, Any]:
    """Train on one kind of weights, in this process."""
    from nuguna.machine.process import prepare

    prepare()
    from nuguna.base_models.checked import check_model
    from nuguna.model.load import load_base
    from nuguna.tokens.tokenizer import silence_libraries

    silence_libraries()
    device = task["device"]
    base = load_base(
        check_model(Path(task["model"])), dtype=task["dtype"], device=device, quantization=task["kind"]
    ).model
    weight_bytes = sum(p.numel() * p.element_size() for p in base.parameters())
    return {**train_ours(base, task), "weight_bytes": weight_bytes}


def demo_examples(count: int) -> list[tuple[list[int], int]]:
    """Return the first rows of the medical set as tokens of the demo model, and how many of each are the
    question.
    """
    from nuguna.base_models.catalog import DEMO_FOLDER
    from nuguna.base_models.checked import check_tokenizer
    from nuguna.data.dataset import load_dataset
    from nuguna.tokens.encode import encode
    from nuguna.tokens.laid_out import end_token_ids
    from nuguna.tokens.tokenizer import load_tokenizer

    tokenizer = load_tokenizer(check_tokenizer(DEMO_FOLDER))
    ends = end_token_ids(tokenizer, None)
    made = [encode(tokenizer, row, 512, ends) for row in load_dataset("demo").train[:count]]
    return [(e.ids.tolist(), int(e.loss_mask.argmax())) for e in made]


def measure(kind: str, task: dict[str, Any]) -> dict[str, Any]:
    """Return one kind in a fresh process."""
    with tempfile.TemporaryDirectory() as folder:
        job = Path(folder) / "task.json"
        job.write_text(json.dumps({**task, "folder": folder, "kind": kind}))
        done = subprocess.run(
            [sys.executable, __file__, "--worker", str(job)], capture_output=True, text=True, check=False
        )
        if done.returncode:
            sys.exit(done.stderr)
        return dict(json.loads((Path(folder) / "result.json").read_text()))


def row(shape: str, kind: str, task: dict[str, Any], found: dict[str, Any]) -> dict[str, Any]:
    """Return what is printed and written of one run."""
    from nuguna.tokens.batch import step_indices

    batch, count = task["batch_size"], len(task["examples"])
    chosen = [step_indices(count, batch, SEED, step) for step in range(WARM_UP_STEPS, task["steps"])]
    tokens = sum(len(task["examples"][i][0]) for indices in chosen for i in indices)
    seconds = found["ends"][-1] - found["ends"][WARM_UP_STEPS - 1]
    return {
        "shape": shape,
        "quantization": kind,
        "dtype": task["dtype"],
        "tokens_per_second": tokens / seconds,
        "weight_bytes": found["weight_bytes"],
        "loaded_bytes": found["loaded_bytes"],
        "peak_bytes": found["peak_bytes"],
        "last_loss": statistics.mean(found["losses"][-5:]),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--shape", choices=["demo", *SHAPES], default="demo")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--batch-size", type=int, default=4)
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], default="bfloat16")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--worker", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.worker:
        task = json.loads(asked.worker.read_text())
        (asked.worker.parent / "result.json").write_text(json.dumps(work(task)))
        return
    from nuguna.base_models.catalog import DEMO_FOLDER, describe_folder
    from nuguna.base_models.checked import check_tokenizer
    from nuguna.machine.hardware import detect
    from nuguna.tokens.tokenizer import load_tokenizer

    rows = []
    with tempfile.TemporaryDirectory() as folder:
        model = make_model(asked.shape, Path(folder))
        if asked.shape != "demo":  # any tokenizer: the tokens are drawn
            load_tokenizer(check_tokenizer(DEMO_FOLDER)).save_pretrained(model)
        count = asked.steps * asked.batch_size
        examples = (
            demo_examples(count)
            if asked.shape == "demo"
            else make_examples(describe_folder(model).shape.vocab_size, count)
        )
        task = {
            "model": str(model),
            "steps": asked.steps,
            "batch_size": asked.batch_size,
            "dtype": asked.dtype,
        }
        task |= {"micro_batch_size": asked.batch_size, "device": asked.device, "examples": examples}
        for kind in KINDS:
            rows.append(row(asked.shape, kind, task, measure(kind, task)))
            found = rows[-1]
            print(
                f"{asked.shape} {kind}: {found['tokens_per_second']:.0f} tokens/s, weights {found['weight_bytes'] / 2**20:.0f}, "
                f"loaded {found['loaded_bytes'] / 2**20:.0f}, peak {found['peak_bytes'] / 2**20:.0f} MiB, "
                f"loss of the last five steps {found['last_loss']:.4f}",
                flush=True,
            )
    if asked.json:
        asked.json.write_text(json.dumps({"machine": detect(Path.cwd()).to_json(), "rows": rows}, indent=2))


if __name__ == "__main__":
    main()
