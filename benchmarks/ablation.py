"""What each technique of the engine brings alone: a training step with all of them, and with all but one, by
turns.

    .venv/bin/python benchmarks/ablation.py --shape smollm2-135m --rounds 9

"Without" a technique means what transformers, peft and torch do in its place. Every round runs all ways once
on the same batch.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

sys.path.insert(0, str(Path(__file__).parents[1]))  # this file is started by its path

from benchmarks.engine import SHAPES, make_examples, make_model  # noqa: E402
from benchmarks.sides import LORA_ALPHA, LORA_R, SEED, load  # noqa: E402
from nuguna.machine.process import prepare  # noqa: E402

prepare()

SWITCHES = {"head on trained tokens": "split_head", "documents end to end": "packed"}


def plain_attention(q: Any, k: Any, v: Any, lengths: tuple[int, ...], prefix: int, rules: Any) -> Any:
    """torch's fused attention, one document after the other."""
    import torch
    from torch.nn.functional import scaled_dot_product_attention

    parts = []
    for row in zip(*(torch.split(x, list(lengths)) for x in (q, k, v)), strict=True):
        query, key, value = (x.transpose(0, 1)[None] for x in row)
        out = scaled_dot_product_attention(
            query, key, value, is_causal=True, scale=rules.scaling, enable_gqa=True
        )
        parts.append(out[0].transpose(0, 1))
    return torch.cat(parts)


def plain_loss(hidden: Any, weight: Any, bias: Any, labels: Any) -> Any:
    """Return all logits at once, in float32."""
    from torch.nn.functional import cross_entropy, linear

    return cross_entropy(linear(hidden, weight, bias).float(), labels, reduction="sum")


def ways() -> dict[str, Callable[[], Any]]:
    """technique → a context in which it is off; those of SWITCHES are fields of Shortcuts."""
    no = "nuguna.engine."
    return {
        "nothing": nullcontext,
        "attention in blocks": lambda: patch(no + "attention.attend_in_blocks", plain_attention),
        "gated MLP by hand": lambda: patch(no + "training.GatedMlp.fits", lambda module: False),
        "norms by hand": lambda: patch(no + "training.RmsNorm.fits", lambda module: False),
        "shared inputs": lambda: patch(no + "linear._readers_of_one_tensor", lambda layers, run: []),
        "LoRA layers by hand": lambda: patch(no + "linear.LoraLinear.find_matrices", lambda layer: None),
        "loss with its gradient": lambda: patch(no + "loss.chunked_loss", plain_loss),
        "last block where it is read": lambda: patch(no + "training.LastBlock.fits", lambda block: False),
    }


@contextmanager
def without(name: str, shortcuts: Any) -> Iterator[Any]:
    """The shortcuts to run with, within a context where one technique is off."""
    if name in SWITCHES:
        yield replace(shortcuts, **{SWITCHES[name]: False})
        return
    with ways()[name]():
        yield shortcuts


def measure(task: dict[str, Any], rounds: int) -> dict[str, float]:
    """technique → seconds of a step without it, the median of all rounds."""
    from nuguna.engine.adapter import adapter_parameters
    from nuguna.engine.forward import find_shortcuts
    from nuguna.engine.loss import loss_sum
    from nuguna.engine.training import training_form
    from nuguna.model.adapter import attach_adapter
    from nuguna.tokens.batch import micro_batches, step_indices
    from nuguna.tokens.encode import Encoded

    model = load(task).requires_grad_(False)
    model = attach_adapter(
        model, base_name="x", lora_r=LORA_R, lora_alpha=LORA_ALPHA, seed=SEED, gradient_checkpointing=False
    ).train()
    for parameter in adapter_parameters(model).values():
        parameter.grad = parameter.new_zeros(parameter.shape)
    examples = [
        Encoded(tuple(ids), tuple(i >= question for i in range(len(ids))))
        for ids, question in task["examples"]
    ]
    found = find_shortcuts(model)
    seconds: dict[str, list[float]] = {name: [] for name in [*ways(), *SWITCHES]}
    for round_number in range(-1, rounds):
        chosen = [examples[i] for i in step_indices(len(examples), 4, SEED, max(round_number, 0))]
        for name in seconds:
            with without(name, found) as shortcuts, training_form(model, shortcuts, 2048):
                (batch,) = micro_batches(chosen, 10**6, "cpu", packed=shortcuts.packed)
                for is_timed in (
                    False,
                    True,
                ):  # once before, so that no kernel is made for these lengths while the clock runs
                    began = time.perf_counter()
                    loss_sum(model, batch, shortcuts).backward()
                    if is_timed and round_number >= 0:
                        seconds[name].append(
                            (time.perf_counter() - began) / sum(len(e.ids) for e in chosen) * 1000
                        )
    return {name: statistics.median(times) for name, times in seconds.items()}


def main() -> None:
    """Measure, print a table, and write JSON if asked to."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--shape", choices=["demo", *SHAPES], default="smollm2-135m")
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], default="bfloat16")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        model = make_model(args.shape, Path(folder))
        vocabulary = json.loads((model / "config.json").read_text())["vocab_size"]
        task = {"model": str(model), "dtype": args.dtype, "examples": make_examples(vocabulary, 64)}
        found = measure(task, args.rounds)
    whole = found["nothing"]
    for name, value in found.items():
        print(f"without {name}: {value:.3f} ms a token, {value / whole:.2f} times as long")
    if args.json:
        rows = [
            {"without": name, "milliseconds_per_token": value, "ratio": value / whole}
            for name, value in found.items()
        ]
        args.json.write_text(
            json.dumps({"machine": {}, "shape": args.shape, "dtype": args.dtype, "rows": rows}, indent=2)
            + "\n"
        )


if __name__ == "__main__":
    main()
