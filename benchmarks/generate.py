"""Answers per second beside transformers' own `generate`, one question at a time as its documentation shows
it.

    .venv/bin/python benchmarks/generate.py --adapter results --pairs 3 --json generate.json

Both answer the same held-out questions of the medical set, greedily, with the same end tokens and limit, by
turns in one process. The clock is what a user waits; processor time (best read with OMP_NUM_THREADS=1, where
no thread waits for another) hardly depends on what else the machine does.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any


def one_at_a_time(loaded: Any, prompts: list[Any], max_new_tokens: int) -> list[str]:
    """As transformers' documentation shows it."""
    import torch

    from nuguna.tokens.encode import encode_prompt

    texts = []
    for turns in prompts:
        ids = torch.tensor([encode_prompt(loaded.tokenizer, turns)], device=loaded.model.device)
        output = loaded.model.generate(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=max_new_tokens,
            do_sample=False,
            eos_token_id=sorted(loaded.eos_ids),
            pad_token_id=loaded.tokenizer.pad_token_id,
        )
        texts.append(loaded.tokenizer.decode(output[0, ids.shape[1] :], skip_special_tokens=True).strip())
    return texts


def timed(work: Callable[[], Any]) -> tuple[Any, float, float]:
    """Return what it gives, seconds by the clock, and seconds of this process's processors."""
    began, used = time.perf_counter(), time.process_time()
    found = work()
    return found, time.perf_counter() - began, time.process_time() - used


def measure(dtype: str, adapter: Path | None, asked: argparse.Namespace) -> dict[str, Any]:
    """Return one row: both by turns."""
    import torch

    from nuguna.base_models.catalog import DEMO_FOLDER
    from nuguna.base_models.checked import check_adapter, check_model
    from nuguna.data.dataset import load_dataset
    from nuguna.measure.evaluate import answer_room
    from nuguna.model.adapter import reload_adapter
    from nuguna.model.generate import answer
    from nuguna.model.load import Loaded, load_base
    from nuguna.tokens.encode import encode

    loaded = load_base(check_model(DEMO_FOLDER), dtype=dtype, device=asked.device)
    if adapter is not None:
        loaded = Loaded(
            reload_adapter(loaded.model, check_adapter(adapter)), loaded.tokenizer, loaded.eos_ids
        )
    rows = load_dataset("demo").heldout[: asked.questions]
    prompts = [row.prompt for row in rows]
    room = answer_room([encode(loaded.tokenizer, row, 512, loaded.eos_ids) for row in rows])
    given: dict[str, Any] = {"eos_ids": loaded.eos_ids, "max_new_tokens": room}
    (
        one_at_a_time(loaded, prompts[:2], 8),
        answer(loaded.model, loaded.tokenizer, prompts[:8], **given),
    )  # warm up
    pairs = []
    for _ in range(asked.pairs):
        texts, single, single_used = timed(lambda: one_at_a_time(loaded, prompts, room))
        made, ours, ours_used = timed(lambda: answer(loaded.model, loaded.tokenizer, prompts, **given))
        pairs.append((single, ours, single / ours, single_used / ours_used))
        took = f"{single:.1f} and {ours:.1f} s by the clock, {single_used:.1f} and {ours_used:.1f} s of the processor"
        print(f"  {took}: {single / ours:.2f} and {single_used / ours_used:.2f} times", flush=True)
    middle = [statistics.median(column) for column in zip(*pairs, strict=True)]
    return {
        "dtype": dtype,
        "adapter": adapter is not None,
        "num_questions": len(prompts),
        "tokens_per_answer": statistics.mean(a.num_tokens for a in made),
        "peer_answers_per_second": len(prompts) / middle[0],
        "ours_answers_per_second": len(prompts) / middle[1],
        "ratio": middle[2],
        "ratios": [pair[2] for pair in pairs],
        "num_threads": torch.get_num_threads(),
        "processor_time_ratio": middle[3],
        "processor_time_ratios": [pair[3] for pair in pairs],
        "num_same": sum(text == a.text for text, a in zip(texts, made, strict=True)),
        "num_pairs": asked.pairs,
    }


def main() -> None:
    """Measure and print."""
    from nuguna.machine.process import prepare

    prepare()
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--adapter", type=Path, help="a run folder of the demo model; without it only the base is measured"
    )
    parser.add_argument(
        "--dtype", choices=["float32", "bfloat16"], action="append", help="both, if not given"
    )
    parser.add_argument("--questions", type=int, default=64)
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    from nuguna.machine.hardware import detect
    from nuguna.tokens.tokenizer import silence_libraries

    silence_libraries()
    rows = []
    for adapter in (asked.adapter, None) if asked.adapter else (None,):
        for dtype in asked.dtype or ["float32", "bfloat16"]:
            rows.append(measure(dtype, adapter, asked))
            row = rows[-1]
            kind = f"{dtype}, {'with' if adapter else 'without'} adapter, {row['tokens_per_answer']:.1f} tokens an answer"
            speeds = f"one at a time {row['peer_answers_per_second']:.2f}, ours {row['ours_answers_per_second']:.2f} answers/s"
            ratios = f"{row['ratio']:.2f} times, {row['processor_time_ratio']:.2f} in processor time"
            print(
                f"{kind}: {speeds}, {ratios}; {row['num_same']} of {row['num_questions']} the same",
                flush=True,
            )
    if asked.json:
        asked.json.write_text(json.dumps({"machine": detect(Path.cwd()).to_json(), "rows": rows}, indent=2))


if __name__ == "__main__":
    main()
