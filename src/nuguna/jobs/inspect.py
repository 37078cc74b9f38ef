"""`nuguna data` without a screen: read a dataset, look at it as a model would, write a clean copy."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..base_models.catalog import BaseModel
from ..data.dataset import MAX_BAD, BadRowsError, Dataset, read_all
from ..data.doctor.findings import Finding, finding_json, look_at, repetitions
from ..data.doctor.mend import Fixed, write_fixed
from ..data.facts import DEMO
from ..data.files.columns import split_columns
from ..disk.run_folder import read_json
from ..errors import DataError, ModelError
from ..hub.models import candidates
from ..message import Message, say
from ..plan.settings import Request, setting_named
from ..tokens.choose import MAX_LEFT_OUT
from ..tokens.laid_out import end_token_ids
from ..tokens.lengths import Example, Lengths, draw_examples, lengths_json, measure_lengths
from ..tokens.template import with_thinking
from ..tokens.tokenizer import load_tokenizer, silence_libraries
from ..tokens.tokenizer_protocol import Tokenizer

_DEFAULT_LENGTH = setting_named("max_seq_length").default


@dataclass(frozen=True)
class Diagnosis:
    """All that was found. `reason` says why a refused dataset is refused."""

    dataset: Dataset
    reason: Message | None
    num_turns: int
    languages: Counter[str]
    findings: tuple[Finding, ...]
    lengths: Lengths
    examples: tuple[Example, ...]
    seconds: float = 0.0  # to read and look at everything

    @property
    def num_bytes(self) -> int:
        """What was read, unpacked."""
        return sum(table.num_bytes for table in self.dataset.tables)

    def to_json(self) -> dict[str, Any]:
        """Return the document of `nuguna data --json`."""
        data, lengths = self.dataset, self.lengths
        formats, encodings = (
            [getattr(table, name) for table in data.tables] for name in ("format", "encoding")
        )
        return {
            "verdict": "ready" if self.reason is None else "refused",
            "reason": None if self.reason is None else str(self.reason),
            "format": ", ".join(dict.fromkeys(formats)),
            "encoding": ", ".join(dict.fromkeys(filter(None, encodings))),
            "shape": data.shape,
            "shape_is_certain": all(shape.is_certain for shape in data.shapes),
            "files": [table.name for table in data.tables],
            "num_rows": data.num_rows,
            "num_usable": len(data.train),
            "num_left_out": data.num_bad,
            "num_unwanted": data.num_unwanted,
            "num_refused": lengths.counts.num_refused,
            "refusal": _refusal_json(lengths.refusal),
            "bad_rows": [row.to_json() for row in data.bad_rows],
            "heldout_bad_rows": [row.to_json() for row in data.heldout_bad_rows],
            "num_turns": self.num_turns,
            "languages": dict(self.languages.most_common()),
            "num_trained_tokens": lengths.num_trained,
            "token_lengths": lengths_json(lengths),
            "findings": [finding_json(finding) for finding in self.findings],
            "num_bytes": self.num_bytes,
            "seconds": round(self.seconds, 3),
            "notes": [str(note) for note in data.notes],
            "examples": [
                {"text": example.text, "trained": [list(span) for span in example.trained]}
                for example in self.examples
            ],
        }


def _refusal_json(refusal: DataError | None) -> dict[str, str] | None:
    if refusal is None:
        return None
    return {"what": str(refusal.what), "seen": str(refusal.seen or ""), "fix": str(refusal.fix)}


def inspect_data(
    request: Request, on_rows: Callable[[int], None] = lambda count: None
) -> tuple[Diagnosis, str]:
    """Return (what was found, the model by whose tokenizer it was counted). Raises `DataError` where there is
    no dataset at all.
    """
    silence_libraries()
    began = time.perf_counter()
    columns = request.data_columns
    dataset = read_all(request.data or DEMO, split_columns(columns) if columns else (), on_rows)
    base = _base(request.model)
    assert base.checked is not None
    tokenizer = load_tokenizer(base.checked.tokenizer)
    if dataset.has_reasoning:
        tokenizer.chat_template = with_thinking(tokenizer.chat_template, is_on=True)
    generation = read_json(base.checked.folder / "generation_config.json")
    eos_ids = end_token_ids(
        tokenizer, generation.get("eos_token_id") if isinstance(generation, dict) else None
    )
    length = min(request.max_seq_length or _DEFAULT_LENGTH, base.context_tokens)
    found = diagnose(dataset, tokenizer, length, eos_ids)
    return replace(found, seconds=time.perf_counter() - began), base.id


def _base(wish: str | None) -> BaseModel:
    """Return a model whose tokenizer is on this machine; the demo model, if none was named."""
    base = candidates("demo" if wish in (None, "auto") else str(wish))[0]
    if base.checked is None:
        raise ModelError(
            say("The tokenizer of {model} is not on this machine.", model=base.id),
            fix=say(
                "Download the model (hf download {model}), or count with the demo model: --model demo",
                model=base.id,
            ),
        )
    return base


def fix_data(found: Diagnosis, path: Path, translate: Callable[[Message], str] = str) -> Fixed:
    """Write the clean copy; `translate` gives the sentences of the list of changes.

    Raises `SettingError` for a file that exists, and `DataError` when nothing would be in it.
    """
    if not found.dataset.train:
        data = found.dataset
        advice = say("See what is in the file: nuguna data {source}", source=data.source)
        raise BadRowsError(data.source, data.bad_rows, data.num_bad, data.num_rows, advice=advice)
    return write_fixed(found.dataset, path, translate)


def refusal_json(error: DataError) -> dict[str, Any]:
    """Return the document of `nuguna data --json` for a dataset of which nothing can be made."""
    facts = {
        "format": "",
        "encoding": "",
        "shape": "",
        "num_rows": 0,
        "num_usable": 0,
        "num_left_out": 0,
        "bad_rows": [],
    }
    reason = {"reason": str(error.what), "seen": str(error.seen) if error.seen else "", "fix": str(error.fix)}
    return {"verdict": "refused", **reason, **facts, "num_trained_tokens": 0, "examples": []}


def diagnose(dataset: Dataset, tokenizer: Tokenizer, max_length: int, eos_ids: frozenset[int]) -> Diagnosis:
    """Look at every conversation."""
    seen = look_at(dataset.train)
    lengths = measure_lengths(tokenizer, dataset.train, max_length, eos_ids)
    findings = [*repetitions(dataset), *seen.findings.values()]
    examples = draw_examples(tokenizer, dataset.train, max_length, eos_ids)
    return Diagnosis(
        dataset,
        _reason(dataset, lengths),
        seen.num_turns,
        seen.languages,
        tuple(finding for finding in findings if finding.count),
        lengths,
        examples,
    )


def _reason(dataset: Dataset, lengths: Lengths) -> Message | None:
    if dataset.num_bad > MAX_BAD * dataset.num_rows:
        bad, total = f"{dataset.num_bad:,}", f"{dataset.num_rows:,}"
        return say(
            "{bad} of {total} rows are broken. Training leaves out one in a hundred at most.",
            bad=bad,
            total=total,
        )
    if not dataset.train:
        return say("There is nothing to train on.")
    counts = lengths.counts
    if counts.num_refused > MAX_LEFT_OUT * counts.num_rows:
        return say(
            "{count} of {total} examples do not fit the chat template.",
            count=counts.num_refused,
            total=counts.num_rows,
        )
    if counts.num_too_long > MAX_LEFT_OUT * counts.num_rows:
        lost = {"count": counts.num_too_long, "total": counts.num_rows, "length": lengths.max_length}
        return say(
            "The answers of {count} of {total} examples alone are longer than {length} tokens.", **lost
        )
    return None
