"""How fast a dataset is checked, tokenised and packed, and in how much memory, beside the `datasets` library.

    .venv/bin/pip install -e '.[bench]'
    .venv/bin/python benchmarks/data.py --megabytes 1000 --json data.json

Both sides read the same generated JSONL file of Korean and English questions and answers in fresh processes,
render it with the demo model's chat template, tokenise it and lay it out in rows of 4,096 tokens. Ours also
checks every row, marks which tokens are trained, and finds repetitions; `datasets` gets the two processes
that its users give it on two cores.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

WORDS = (
    "고혈압 당뇨 증상 원인 치료 약 하루 물 의사 병원 검사 혈액 통증 열 기침 수면 운동 음식 체중 혈당 "
    "the patient should take this medicine with water every day and see a doctor when fever lasts longer "
    "than three days"
).split()
ROW_TOKENS, MAX_LENGTH = 4096, 512


def write_file(path: Path, num_bytes: int) -> int:
    """Write rows of about 550 bytes until the file is as large as asked for. Return how many."""
    rng = random.Random(0)
    written = count = 0
    with open(path, "w", encoding="utf-8") as file:
        while written < num_bytes:
            question = " ".join(rng.choices(WORDS, k=rng.randint(5, 20))) + f" {count}?"
            answer = " ".join(rng.choices(WORDS, k=rng.randint(20, 120))) + "."
            line = json.dumps({"question": question, "answer": answer}, ensure_ascii=False) + "\n"
            written += len(line.encode())
            count += 1
            file.write(line)
    return count


class Memory:
    """The largest resident memory of this process and its children, above what was there at the start."""

    def __init__(self) -> None:
        import psutil

        self._process, self._done = psutil.Process(), threading.Event()
        self._before, self.most = self._now(), 0
        threading.Thread(target=self._watch, daemon=True).start()

    def _now(self) -> int:
        import psutil

        total = 0
        for process in [self._process, *self._process.children(recursive=True)]:
            try:
                total += process.memory_info().rss
            except psutil.NoSuchProcess:
                continue
        return total

    def _watch(self) -> None:
        while not self._done.wait(0.05):
            self.most = max(self.most, self._now() - self._before)

    def stop(self) -> int:
        """Stop looking."""
        self._done.set()
        return self.most


def run_ours(path: str, folder: str) -> dict[str, Any]:
    """Check, choose and encode everything, lay it out."""
    from nuguna.base_models.catalog import DEMO_FOLDER
    from nuguna.base_models.checked import check_tokenizer
    from nuguna.data.dataset import load_dataset
    from nuguna.tokens.batch import micro_batches
    from nuguna.tokens.cache import choose_or_recall
    from nuguna.tokens.choose import SplitRules
    from nuguna.tokens.laid_out import end_token_ids
    from nuguna.tokens.tokenizer import load_tokenizer, silence_libraries

    silence_libraries()
    tokenizer = load_tokenizer(check_tokenizer(DEMO_FOLDER))
    memory, times = Memory(), [_now()]
    dataset = load_dataset(path)
    times.append(_now())
    rules = SplitRules(num_heldout=64, num_train=10**9, max_length=MAX_LENGTH, seed=42)
    chosen = choose_or_recall(
        tokenizer, dataset, rules, end_token_ids(tokenizer, None), Path(folder) / "tokens"
    )
    times.append(_now())
    tokens = 0
    for start in range(0, len(chosen.train), 1024):
        for batch in micro_batches(chosen.train[start : start + 1024], ROW_TOKENS, "cpu", packed=True):
            tokens += len(batch.ids)
    times.append(_now())
    again = time.perf_counter()
    choose_or_recall(tokenizer, dataset, rules, end_token_ids(tokenizer, None), Path(folder) / "tokens")
    return _result(times, memory.stop(), tokens) | {"second_start_seconds": time.perf_counter() - again}


def run_datasets(path: str, folder: str) -> dict[str, Any]:
    """Return the same with `datasets`: load, map with template and tokenizer, map into rows."""
    import datasets
    from transformers import AutoTokenizer

    from nuguna.base_models.catalog import DEMO_FOLDER

    datasets.disable_progress_bars()
    tokenizer = AutoTokenizer.from_pretrained(DEMO_FOLDER)
    memory, times = Memory(), [_now()]
    loaded = datasets.load_dataset(
        "json", data_files=path, split="train", cache_dir=str(Path(folder) / "cache")
    )
    times.append(_now())

    def encode(rows: dict[str, list[str]]) -> dict[str, Any]:
        pairs = zip(rows["question"], rows["answer"], strict=True)
        chats = [[{"role": "user", "content": q}, {"role": "assistant", "content": a}] for q, a in pairs]
        texts = tokenizer.apply_chat_template(chats, tokenize=False)
        return {
            "input_ids": tokenizer(texts, add_special_tokens=False, truncation=True, max_length=MAX_LENGTH)[
                "input_ids"
            ]
        }

    encoded = loaded.map(encode, batched=True, num_proc=2, remove_columns=loaded.column_names)
    times.append(_now())

    def pack(rows: dict[str, list[list[int]]]) -> dict[str, Any]:
        flat = [token for ids in rows["input_ids"] for token in ids]
        return {"input_ids": [flat[i : i + ROW_TOKENS] for i in range(0, len(flat), ROW_TOKENS)]}

    packed = encoded.map(pack, batched=True, num_proc=2)
    times.append(_now())
    tokens = sum(len(ids) for batch in packed.iter(64) for ids in batch["input_ids"])
    return _result(times, memory.stop(), tokens)


def _now() -> tuple[float, float]:
    """Return the seconds gone by, and those that processors have worked for this process and its ended
    children.
    """
    spent = os.times()
    return time.perf_counter(), spent.user + spent.system + spent.children_user + spent.children_system


def _result(times: list[tuple[float, float]], most_bytes: int, tokens: int) -> dict[str, Any]:
    seconds: dict[str, float] = {}
    for name, (wall, cpu), (wall_after, cpu_after) in zip(
        ("check", "tokenise", "pack"), times, times[1:], strict=False
    ):
        seconds |= {f"{name}_seconds": wall_after - wall, f"{name}_cpu_seconds": cpu_after - cpu}
    return {**seconds, "peak_bytes": most_bytes, "tokens": tokens}


SIDES = {"ours": run_ours, "datasets": run_datasets}


def measure(side: str, path: Path) -> dict[str, Any]:
    """Return one side in a fresh process."""
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        command = [sys.executable, __file__, "--worker", side, "--file", str(path), "--folder", folder]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            sys.exit(done.stderr)
        return dict(json.loads(done.stdout.splitlines()[-1]))


def _print(side: str, megabytes: int, found: dict[str, Any]) -> None:
    stages = ("check", "tokenise", "pack")
    rates = ", ".join(
        f"{name} {megabytes / found[f'{name}_seconds']:.1f} ({found[f'{name}_cpu_seconds']:.1f} s of processors)"
        for name in stages
    )
    memory = f"{found['peak_bytes'] / 2**20:,.0f} MiB"
    again = f"; second start {found['second_start_seconds']:.2f} s" if "second_start_seconds" in found else ""
    print(f"{side}: MB/s: {rates}; {found['tokens']:,} tokens; memory {memory}{again}", flush=True)


def main() -> None:
    """Generate, measure both sides by turns, print a table, and write JSON if asked to."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--megabytes", type=int, default=1000)
    parser.add_argument("--pairs", type=int, default=1)
    parser.add_argument("--side", choices=list(SIDES), action="append", help="default: both")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--worker", choices=list(SIDES), help=argparse.SUPPRESS)
    parser.add_argument("--file", help=argparse.SUPPRESS)
    parser.add_argument("--folder", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker:
        print(json.dumps(SIDES[args.worker](args.file, args.folder)))
        return
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.jsonl"
        num_rows = write_file(path, args.megabytes * 10**6)
        for pair in range(args.pairs):
            sides = args.side or list(SIDES)
            for side in sides if pair % 2 == 0 else reversed(sides):
                found = measure(side, path)
                rows.append({"side": side, "megabytes": args.megabytes, "num_rows": num_rows, **found})
                _print(side, args.megabytes, found)
    if args.json:
        args.json.write_text(
            json.dumps({"machine": {"num_cores": os.cpu_count()}, "rows": rows}, indent=2) + "\n"
        )


if __name__ == "__main__":
    main()
