"""How fast a training step is beside other trainers: same weights, data, order, batch, LoRA and learning
rates.

    .venv/bin/pip install -e '.[bench]'        # the peers that are no dependency of ours: TRL
    .venv/bin/python benchmarks/engine.py --shape smollm2-135m --peer trl --peer trainer --pairs 5 --json engine.json

Each measurement runs in a fresh process, ours and the peer's by turns, so that a noisy machine is noisy for
both. Tokens are real ones, padding is never counted. The first two steps warm up and are not timed. Peaks are
of resident memory on a CPU and of allocated memory on a GPU. On a GPU with 80 GB, `--shape llama-3.1-8b
--batch-size 16` trains on about 4,096 tokens a step.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))  # this file is started by its path

from benchmarks.sides import LORA_R, SEED, SIDES, WARM_UP_STEPS, work  # noqa: E402

# shape → configuration class and numbers, as in the models' own config.json; weights are random
SHAPES: dict[str, tuple[str, dict[str, Any]]] = {
    "smollm2-135m": (
        "LlamaConfig",
        {
            "vocab_size": 49152,
            "hidden_size": 576,
            "intermediate_size": 1536,
            "num_hidden_layers": 30,
            "num_attention_heads": 9,
        }
        | {"num_key_value_heads": 3, "max_position_embeddings": 8192, "tie_word_embeddings": True},
    ),
    "qwen3-0.6b": (
        "Qwen3Config",
        {
            "vocab_size": 151936,
            "hidden_size": 1024,
            "intermediate_size": 3072,
            "num_hidden_layers": 28,
            "num_attention_heads": 16,
        }
        | {
            "num_key_value_heads": 8,
            "head_dim": 128,
            "max_position_embeddings": 40960,
            "tie_word_embeddings": True,
        },
    ),
    "llama-3.1-8b": (
        "LlamaConfig",
        {
            "vocab_size": 128256,
            "hidden_size": 4096,
            "intermediate_size": 14336,
            "num_hidden_layers": 32,
            "num_attention_heads": 32,
        }
        | {"num_key_value_heads": 8, "max_position_embeddings": 131072, "tie_word_embeddings": False},
    ),
}


def make_model(shape: str, folder: Path) -> Path:
    """Return a folder with the model: the demo's own, or random weights in the shape asked for."""
    from nuguna.base_models.catalog import DEMO_FOLDER

    if shape == "demo":
        return DEMO_FOLDER
    import torch
    import transformers

    name, numbers = SHAPES[shape]
    torch.manual_seed(SEED)
    dtype = (
        torch.bfloat16 if numbers["hidden_size"] >= 4096 else torch.float32
    )  # 32 GB of float32 need not be written
    transformers.AutoModelForCausalLM.from_config(
        getattr(transformers, name)(**numbers), dtype=dtype
    ).save_pretrained(folder)
    return folder


def make_examples(vocabulary: int, count: int) -> list[tuple[list[int], int]]:
    """Return (token ids, how many of them are the question): 25 to 80 tokens of question, answers log-normal
    around 170, cut at 512.
    """
    rng = random.Random(SEED)
    examples = []
    for _ in range(count):
        question, answer = rng.randint(25, 80), max(8, int(rng.lognormvariate(math.log(170), 0.6)))
        examples.append(
            ([rng.randrange(5, vocabulary) for _ in range(min(512, question + answer))], question)
        )
    return examples


def measure(side: str, task: dict[str, Any]) -> dict[str, Any]:
    """Return one run of one side in a fresh process."""
    with tempfile.TemporaryDirectory() as folder:
        job = Path(folder) / "task.json"
        job.write_text(json.dumps({**task, "folder": folder, "side": side}))
        done = subprocess.run(
            [sys.executable, __file__, "--worker", str(job)], capture_output=True, text=True, check=False
        )
        if done.returncode:
            sys.exit(done.stderr)
        return dict(json.loads((Path(folder) / "result.json").read_text()))


def step_flops(task: dict[str, Any], base: Any, step: int) -> tuple[float, int, int]:
    """Return (operations, tokens, trained tokens) of one step, by what has to be computed.

    4 for each frozen weight of the blocks and token, 4 for each weight of the head and trained token, 6 for
    each weight of the adapter and token, and 12 for each pair of tokens that see each other, head and
    dimension (half of all pairs of a document).
    """
    from nuguna.base_models.shape import block_matrices
    from nuguna.plan.memory import lora_parameters
    from nuguna.tokens.batch import step_indices

    shape, chosen = base.shape, step_indices(len(task["examples"]), task["batch_size"], SEED, step)
    rows = [task["examples"][i] for i in chosen]
    tokens, trained = sum(len(ids) for ids, _ in rows), sum(len(ids) - question for ids, question in rows)
    blocks = shape.num_layers * sum(a * b for a, b in block_matrices(shape))
    pairs = sum(len(ids) ** 2 / 2 for ids, _ in rows)
    attention = 12 * shape.num_layers * shape.num_heads * shape.head_dim * pairs
    head = 4 * shape.vocab_size * shape.hidden_size * trained
    return (
        4.0 * blocks * tokens + head + 6 * lora_parameters(shape, LORA_R) * tokens + attention,
        tokens,
        trained,
    )


def gemm_rate(dtype: str) -> float:
    """Operations a second of square matrix products, the best of a second."""
    import torch

    is_gpu = torch.cuda.is_available()
    size = 8192 if is_gpu else 1024
    a = torch.randn(size, size).to(getattr(torch, dtype)).to("cuda" if is_gpu else "cpu")
    best, began = 0.0, time.perf_counter()
    while time.perf_counter() - began < 1:
        start = time.perf_counter()
        a @ a
        if is_gpu:
            torch.cuda.synchronize()
        best = max(best, 2 * size**3 / (time.perf_counter() - start))
    return best


def compare(args: argparse.Namespace, shape: str, dtype: str) -> list[dict[str, Any]]:
    """Return all pairs of one shape with each peer."""
    from nuguna.base_models.catalog import DEMO_FOLDER, describe_folder

    with tempfile.TemporaryDirectory() as folder:
        model = make_model(shape, Path(folder))
        base = describe_folder(model) if shape == "demo" else _described(Path(folder))
        task = {"model": str(model), "tokenizer": str(DEMO_FOLDER), "dtype": dtype, "steps": args.steps}
        task |= {"batch_size": args.batch_size, "micro_batch_size": args.micro_batch_size or args.batch_size}
        task["examples"] = make_examples(base.shape.vocab_size, 64)
        return [_compare_with(peer, task, base, shape, args.pairs) for peer in args.peer or ["trainer"]]


def _compare_with(peer: str, task: dict[str, Any], base: Any, shape: str, pairs: int) -> dict[str, Any]:
    runs: dict[str, list[dict[str, Any]]] = {"ours": [], peer: []}
    for pair in range(pairs):
        for side in ("ours", peer) if pair % 2 == 0 else (peer, "ours"):
            runs[side].append(measure(side, task))
    flops, tokens, trained = (
        sum(x)
        for x in zip(*(step_flops(task, base, s) for s in range(WARM_UP_STEPS, task["steps"])), strict=True)
    )
    seconds = {
        side: [r["ends"][-1] - r["ends"][WARM_UP_STEPS - 1] for r in found] for side, found in runs.items()
    }
    ratios = [b / a for a, b in zip(seconds["ours"], seconds[peer], strict=True)]
    middle = {side: statistics.median(found) for side, found in seconds.items()}
    ours, theirs = runs["ours"][0], runs[peer][0]
    row: dict[str, Any] = {"shape": shape, "peer": peer, "dtype": task["dtype"], "num_pairs": pairs}
    for name, side in (("ours", "ours"), ("peer", peer)):
        row[f"{name}_tokens_per_second"] = tokens / middle[side]
        row[f"{name}_trained_tokens_per_second"] = trained / middle[side]
        row[f"{name}_first_step_seconds"] = statistics.median(r["ends"][0] for r in runs[side])
        row[f"{name}_peak_bytes"] = statistics.median(r["peak_bytes"] for r in runs[side])
        row[f"{name}_loaded_bytes"] = statistics.median(r["loaded_bytes"] for r in runs[side])
    rate = gemm_rate(task["dtype"])
    return row | {
        "ratio": statistics.median(ratios),
        "ratios": ratios,
        "memory_ratio": (row["ours_peak_bytes"] - row["ours_loaded_bytes"])
        / (row["peer_peak_bytes"] - row["peer_loaded_bytes"]),
        "gemm_share": flops / middle["ours"] / rate,
        "gemm_flops_per_second": rate,
        "step_flops": flops / (task["steps"] - WARM_UP_STEPS),
        # packing puts other examples into a step, so that its losses are of other batches
        "max_loss_difference": None
        if "packing" in peer
        else max(abs(a - b) / abs(b) for a, b in zip(ours["losses"], theirs["losses"], strict=True)),
    }


def _described(folder: Path) -> Any:
    """Return the shape of a made model, which has no tokenizer: a run would refuse it, a benchmark need
    not.
    """
    from types import SimpleNamespace

    from nuguna.base_models.shape import read_shape

    return SimpleNamespace(
        shape=read_shape(json.loads((folder / "config.json").read_text()), source="config.json")
    )


def _print(row: dict[str, Any]) -> None:
    above = [(row[f"{side}_peak_bytes"] - row[f"{side}_loaded_bytes"]) / 2**20 for side in ("ours", "peer")]
    difference = row["max_loss_difference"]
    print(
        f"{row['shape']} {row['dtype']}: ours {row['ours_tokens_per_second']:.0f}, {row['peer']} "
        f"{row['peer_tokens_per_second']:.0f} tokens/s, ratio {row['ratio']:.2f} (median of {row['num_pairs']} pairs, "
        f"{min(row['ratios']):.2f} to {max(row['ratios']):.2f}); above the loaded model {above[0]:.0f} and {above[1]:.0f} MiB "
        f"({row['memory_ratio']:.2f}); {100 * row['gemm_share']:.0f} % of {row['gemm_flops_per_second'] / 1e9:.0f} GFLOP/s; "
        f"first step after {row['ours_first_step_seconds']:.1f} and {row['peer_first_step_seconds']:.1f} s"
        + (f"; losses differ by {difference:.1e}" if difference is not None else "")
    )


def main() -> None:
    """Measure, print a table, and write JSON if asked to."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--shape",
        choices=["demo", *SHAPES],
        action="append",
        help="may be given several times; default: demo",
    )
    parser.add_argument(
        "--peer", choices=[side for side in SIDES if side != "ours"], action="append", help="default: trainer"
    )
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--batch-size", type=int, default=4)
    parser.add_argument("--micro-batch-size", type=int, help="default: the whole batch")
    parser.add_argument("--dtype", choices=["auto", "float32", "bfloat16"], default="auto")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--worker", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker:
        (args.worker.parent / "result.json").write_text(json.dumps(work(json.loads(args.worker.read_text()))))
        return
    from nuguna.machine.hardware import detect

    hardware = detect(Path.cwd())
    dtype = hardware.dtype if args.dtype == "auto" else args.dtype
    rows = []
    for shape in args.shape or ["demo"]:
        for row in compare(args, shape, dtype):
            _print(row)
            rows.append(row)
    if args.json:
        args.json.write_text(json.dumps({"machine": hardware.to_json(), "rows": rows}, indent=2) + "\n")


if __name__ == "__main__":
    main()
