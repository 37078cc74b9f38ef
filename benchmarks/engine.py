"""How fast a training step is beside peft + transformers.Trainer: same weights, data, order, batch, LoRA and learning rates.

    .venv/bin/python benchmarks/engine.py --shape demo --pairs 5 --json engine.json

Each measurement runs in a fresh process, ours and the peer's by turns, so that a noisy machine is noisy for both. Tokens are real
ones, padding is never counted. The first two steps warm up and are not timed. Peaks are of resident memory, measured on the CPU.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from nuguna.threads import share_cores

share_cores()  # before torch is loaded, for both sides alike

WARM_UP_STEPS = 2
LORA_R, LORA_ALPHA, RATE, SEED = 16, 16, 2e-4, 42
# shape → configuration class and numbers, as in the models' own config.json; weights are random
SHAPES: dict[str, tuple[str, dict[str, Any]]] = {
    "smollm2-135m": (
        "LlamaConfig",
        {"vocab_size": 49152, "hidden_size": 576, "intermediate_size": 1536, "num_hidden_layers": 30, "num_attention_heads": 9}
        | {"num_key_value_heads": 3, "max_position_embeddings": 8192, "tie_word_embeddings": True},
    ),
    "qwen3-0.6b": (
        "Qwen3Config",
        {"vocab_size": 151936, "hidden_size": 1024, "intermediate_size": 3072, "num_hidden_layers": 28, "num_attention_heads": 16}
        | {"num_key_value_heads": 8, "head_dim": 128, "max_position_embeddings": 40960, "tie_word_embeddings": True},
    ),
}


def make_model(shape: str, folder: Path) -> Path:
    """A folder with the model: the demo's own, or random weights in the shape asked for."""
    from nuguna.catalog import DEMO_FOLDER

    if shape == "demo":
        return DEMO_FOLDER
    import torch
    import transformers

    name, numbers = SHAPES[shape]
    torch.manual_seed(SEED)
    transformers.AutoModelForCausalLM.from_config(getattr(transformers, name)(**numbers)).save_pretrained(folder)
    return folder


def make_examples(vocabulary: int, count: int) -> list[tuple[list[int], int]]:
    """(token ids, how many of them are the question): 25 to 80 tokens of question, answers log-normal around 170, cut at 512."""
    rng = random.Random(SEED)
    examples = []
    for _ in range(count):
        question, answer = rng.randint(25, 80), max(8, int(rng.lognormvariate(math.log(170), 0.6)))
        examples.append(([rng.randrange(5, vocabulary) for _ in range(min(512, question + answer))], question))
    return examples


def load(task: dict[str, Any]) -> Any:
    """The base model in the dtype of the task."""
    import torch
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(task["model"], dtype=getattr(torch, task["dtype"]), attn_implementation="sdpa")


def run_ours(task: dict[str, Any]) -> dict[str, Any]:
    """Our loop and engine."""
    from nuguna.data.encode import Encoded
    from nuguna.engine.forward import find_shortcuts
    from nuguna.model import attach_adapter
    from nuguna.train import Recipe, train

    model = load(task)
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    model = attach_adapter(
        model, base_name="x", lora_r=LORA_R, lora_alpha=LORA_ALPHA, seed=SEED, gradient_checkpointing=False
    )
    examples = [Encoded(tuple(ids), tuple(i >= question for i in range(len(ids)))) for ids, question in task["examples"]]
    clock = _Clock()
    train(
        model,
        examples,
        Recipe(
            max_steps=task["steps"],
            batch_size=task["batch_size"],
            micro_batch_size=task["micro_batch_size"],
            learning_rate=RATE,
            warmup_steps=WARM_UP_STEPS,
            weight_decay=0.0,
            max_grad_norm=1.0,
            seed=SEED,
            checkpoint_every=task["steps"],
        ),
        shortcuts=find_shortcuts(model),
        folder=Path(task["folder"]),
        mark="benchmark",
        on_step=lambda step: clock.step(step.loss),
        on_resume=lambda step: None,
        on_stopping=lambda: None,
        memory_bytes=lambda: 0,
    )
    return clock.result()


def run_trainer(task: dict[str, Any]) -> dict[str, Any]:
    """peft + transformers.Trainer as most people use them: right padding, labels of -100."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import Trainer, TrainerCallback, TrainingArguments

    from nuguna.data.batch import step_indices
    from nuguna.engine.adapter import block_linear_names
    from nuguna.train import Recipe, learning_rate_at

    model = load(task)
    targets = sorted({name.rsplit(".", 1)[-1] for name in block_linear_names(model)})
    torch.manual_seed(SEED)
    config = LoraConfig(r=LORA_R, lora_alpha=LORA_ALPHA, lora_dropout=0.0, target_modules=targets, task_type="CAUSAL_LM")
    model = get_peft_model(model, config)
    size, steps = task["batch_size"], task["steps"]
    examples = task["examples"]
    order = [i for step in range(steps) for i in step_indices(len(examples), size, SEED, step)]
    rows = [{"input_ids": examples[i][0], "question": examples[i][1]} for i in order]

    def collate(batch: list[dict[str, Any]]) -> dict[str, Any]:
        width = max(len(row["input_ids"]) for row in batch)
        made: dict[str, list[list[int]]] = {"input_ids": [], "attention_mask": [], "labels": []}
        for row in batch:
            ids, pad = row["input_ids"], width - len(row["input_ids"])
            made["input_ids"].append(ids + [0] * pad)
            made["attention_mask"].append([1] * len(ids) + [0] * pad)
            made["labels"].append([-100] * row["question"] + ids[row["question"] :] + [-100] * pad)
        return {name: torch.tensor(values) for name, values in made.items()}

    clock = _Clock()

    class Watch(TrainerCallback):  # type: ignore[misc]
        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
            if "loss" in logs:
                clock.step(logs["loss"])

    recipe = Recipe(
        max_steps=steps,
        batch_size=size,
        micro_batch_size=1,
        learning_rate=RATE,
        warmup_steps=WARM_UP_STEPS,
        weight_decay=0.0,
        max_grad_norm=1.0,
        seed=SEED,
        checkpoint_every=steps,
    )
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1.0, weight_decay=0.0, fused=True)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: learning_rate_at(min(step, steps - 1), recipe))
    arguments = TrainingArguments(
        output_dir=task["folder"],
        per_device_train_batch_size=task["micro_batch_size"],
        gradient_accumulation_steps=size // task["micro_batch_size"],
        max_steps=steps,
        max_grad_norm=1.0,
        logging_steps=1,
        save_strategy="no",
        report_to=[],
        remove_unused_columns=False,
        train_sampling_strategy="sequential",
        use_cpu=True,
        disable_tqdm=True,
        dataloader_pin_memory=False,
    )
    trainer = Trainer(
        model, arguments, data_collator=collate, train_dataset=rows, optimizers=(optimizer, schedule), callbacks=[Watch()]
    )
    trainer.train()
    return clock.result()


class _Clock:
    """When each step ended, its loss, and how much memory came on top of the loaded model."""

    def __init__(self) -> None:
        import psutil

        self.loaded_bytes = int(psutil.Process().memory_info().rss)
        self.began = time.perf_counter()
        self.ends: list[float] = []
        self.losses: list[float] = []

    def step(self, loss: float | None) -> None:
        self.ends.append(time.perf_counter() - self.began)
        self.losses.append(math.nan if loss is None else loss)

    def result(self) -> dict[str, Any]:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
        return {"ends": self.ends, "losses": self.losses, "peak_bytes": peak, "loaded_bytes": self.loaded_bytes}


def measure(side: str, task: dict[str, Any]) -> dict[str, Any]:
    """One run of one side in a fresh process."""
    with tempfile.TemporaryDirectory() as folder:
        job = Path(folder) / "task.json"
        job.write_text(json.dumps({**task, "folder": folder, "side": side}))
        done = subprocess.run([sys.executable, __file__, "--worker", str(job)], capture_output=True, text=True, check=False)
        if done.returncode:
            sys.exit(done.stderr)
        return dict(json.loads((Path(folder) / "result.json").read_text()))


def step_flops(task: dict[str, Any], base: Any, step: int) -> tuple[float, int]:
    """(operations, tokens) of one step, by what has to be computed.

    4 for each frozen weight of the blocks and token, 4 for each weight of the head and trained token, 6 for each weight of the
    adapter and token, and 12 for each pair of tokens that see each other, head and dimension (half of all pairs of a document).
    """
    from nuguna.catalog import block_matrices
    from nuguna.data.batch import step_indices
    from nuguna.memory import lora_parameters

    shape, chosen = base.shape, step_indices(len(task["examples"]), task["batch_size"], SEED, step)
    rows = [task["examples"][i] for i in chosen]
    tokens, trained = sum(len(ids) for ids, _ in rows), sum(len(ids) - question for ids, question in rows)
    blocks = shape.num_layers * sum(a * b for a, b in block_matrices(shape))
    pairs = sum(len(ids) ** 2 / 2 for ids, _ in rows)
    attention = 12 * shape.num_layers * shape.num_heads * shape.head_dim * pairs
    head = 4 * shape.vocab_size * shape.hidden_size * trained
    return 4.0 * blocks * tokens + head + 6 * lora_parameters(shape, LORA_R) * tokens + attention, tokens


def gemm_rate(dtype: str) -> float:
    """Operations a second of square matrix products, the best of a second."""
    import torch

    a = torch.randn(1024, 1024).to(getattr(torch, dtype))
    best, began = 0.0, time.perf_counter()
    while time.perf_counter() - began < 1:
        start = time.perf_counter()
        a @ a
        best = max(best, 2 * 1024**3 / (time.perf_counter() - start))
    return best


def compare(args: argparse.Namespace, shape: str, dtype: str) -> dict[str, Any]:
    """All pairs of one shape."""
    from nuguna.catalog import describe_folder

    with tempfile.TemporaryDirectory() as folder:
        model = make_model(shape, Path(folder))
        base = describe_folder(model) if shape == "demo" else _described(Path(folder))
        task = {"model": str(model), "dtype": dtype, "steps": args.steps, "batch_size": args.batch_size}
        task |= {"micro_batch_size": args.micro_batch_size, "examples": make_examples(base.shape.vocab_size, 64)}
        runs: dict[str, list[dict[str, Any]]] = {"ours": [], "trainer": []}
        for pair in range(args.pairs):
            for side in ("ours", "trainer") if pair % 2 == 0 else ("trainer", "ours"):
                runs[side].append(measure(side, task))
        counts = [step_flops(task, base, step) for step in range(WARM_UP_STEPS, args.steps)]
    flops, tokens = sum(f for f, _ in counts), sum(t for _, t in counts)
    rates = {side: [tokens / (r["ends"][-1] - r["ends"][WARM_UP_STEPS - 1]) for r in found] for side, found in runs.items()}
    ratios = [a / b for a, b in zip(rates["ours"], rates["trainer"], strict=True)]
    ours, peer = runs["ours"][0], runs["trainer"][0]
    return {
        "shape": shape,
        "peer": "trainer",
        "dtype": dtype,
        "ours_tokens_per_second": statistics.median(rates["ours"]),
        "peer_tokens_per_second": statistics.median(rates["trainer"]),
        "ratio": statistics.median(ratios),
        "ratios": ratios,
        "ours_peak_bytes": statistics.median(r["peak_bytes"] for r in runs["ours"]),
        "peer_peak_bytes": statistics.median(r["peak_bytes"] for r in runs["trainer"]),
        "ours_loaded_bytes": statistics.median(r["loaded_bytes"] for r in runs["ours"]),
        "peer_loaded_bytes": statistics.median(r["loaded_bytes"] for r in runs["trainer"]),
        "gemm_share": statistics.median(rates["ours"]) * flops / tokens / gemm_rate(dtype),
        "max_loss_difference": max(abs(a - b) / abs(b) for a, b in zip(ours["losses"], peer["losses"], strict=True)),
        "num_pairs": args.pairs,
    }


def _described(folder: Path) -> Any:
    """The shape of a made model, which has no tokenizer: a run would refuse it, a benchmark need not."""
    from types import SimpleNamespace

    from nuguna.catalog import read_shape

    return SimpleNamespace(shape=read_shape(json.loads((folder / "config.json").read_text()), source="config.json"))


def main() -> None:
    """Measure, print a table, and write JSON if asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", choices=["demo", *SHAPES], action="append", help="may be given several times; default: demo")
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--batch-size", type=int, default=4)
    parser.add_argument("--micro-batch-size", type=int, default=4)
    parser.add_argument("--dtype", choices=["auto", "float32", "bfloat16"], default="auto")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--worker", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker:
        task = json.loads(args.worker.read_text())
        result = run_ours(task) if task["side"] == "ours" else run_trainer(task)
        (args.worker.parent / "result.json").write_text(json.dumps(result))
        return
    from nuguna.hardware import detect

    hardware = detect(Path.cwd())
    dtype = hardware.dtype if args.dtype == "auto" else args.dtype
    rows = [compare(args, shape, dtype) for shape in args.shape or ["demo"]]
    for row in rows:
        above = [(row[f"{side}_peak_bytes"] - row[f"{side}_loaded_bytes"]) / 2**20 for side in ("ours", "peer")]
        print(
            f"{row['shape']} {row['dtype']}: ours {row['ours_tokens_per_second']:.0f}, Trainer "
            f"{row['peer_tokens_per_second']:.0f} tokens/s, ratio {row['ratio']:.2f} (median of {row['num_pairs']} pairs); "
            f"above the loaded model {above[0]:.0f} and {above[1]:.0f} MiB; {100 * row['gemm_share']:.0f} % of the GEMM rate; "
            f"losses differ by {row['max_loss_difference']:.1e}"
        )
    if args.json:
        args.json.write_text(json.dumps({"machine": hardware.to_json(), "rows": rows}, indent=2) + "\n")


if __name__ == "__main__":
    main()
