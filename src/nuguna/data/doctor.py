"""What is in a dataset, and what is wrong with it: `nuguna data`. Everything is counted here and shown elsewhere."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby, islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError
from ..message import Message, say
from .choose import MOST_LEFT_OUT, Counts, Encoding
from .conversation import Conversation
from .dataset import MOST_BAD, Dataset
from .encode import Encoded, shown_parts
from .mojibake import has_replacement, mend_mojibake
from .private import find_private, mask, masked
from .reading import without_collection
from .similar import question_of
from .suspicions import ends_abruptly, language

NUM_EXAMPLES = 3
NUM_LINES = 5  # places named for each finding
MOST_ENCODED = 20_000  # conversations that are encoded to count tokens; of more, as many drawn at even distances
NUM_BINS = 10
NUM_LANGUAGES = 2_000  # answers at least whose language is looked at, at even distances


@dataclass
class Finding:
    """One kind of thing that somebody should look at."""

    kind: str
    what: Message
    count: int = 0
    places: list[tuple[str, int]] = field(default_factory=list)  # (file, line) of the first few
    sample: Message | None = None  # what was seen, private data masked

    def add(self, conversation: Conversation, sample: Message | None = None) -> None:
        """One more conversation in which it was found."""
        self.count += 1
        self.sample = self.sample or sample
        if len(self.places) < NUM_LINES:
            self.places.append((conversation.file, conversation.line))


@dataclass(frozen=True)
class Lengths:
    """How many tokens examples have. `is_sample`: not all were encoded; `refusal`: why the first was refused that was."""

    tokens: Sequence[int]
    num_trained: int  # of all examples; estimated if `is_sample`
    max_length: int
    num_rows: int
    counts: Counts
    is_sample: bool
    refusal: DataError | None = None

    @property
    def num_usable(self) -> int:
        """Examples that fit; estimated if `is_sample`."""
        share = len(self.tokens) / max(1, self.counts.num_rows)
        return round(share * self.num_rows) if self.is_sample else len(self.tokens)

    def histogram(self) -> list[tuple[int, int, int]]:
        """(first length, last length, examples) of bins of equal width; the last takes what is longer than 99 in 100."""
        if not self.tokens:
            return []
        top = int(np.percentile(self.tokens, 99))
        width = max(1, -(-(top + 1) // NUM_BINS))
        counts = Counter(min(length // width, NUM_BINS - 1) for length in self.tokens)
        longest = max(self.tokens)
        ends = [max((i + 1) * width - 1, longest if i == NUM_BINS - 1 else 0) for i in range(NUM_BINS)]
        return [(i * width, ends[i], counts[i]) for i in range(min(counts), max(counts) + 1)]


@dataclass(frozen=True)
class Example:
    """An example as the model sees it, and the characters that are trained, as (start, end)."""

    text: str
    trained: tuple[tuple[int, int], ...]


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
        """The document of `nuguna data --json`."""
        data, lengths = self.dataset, self.lengths
        formats, encodings = ([getattr(table, name) for table in data.tables] for name in ("format", "encoding"))
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
            "token_lengths": _lengths_json(lengths),
            "findings": [_finding_json(finding) for finding in self.findings],
            "num_bytes": self.num_bytes,
            "seconds": round(self.seconds, 3),
            "notes": [str(note) for note in data.notes],
            "examples": [
                {"text": example.text, "trained": [list(span) for span in example.trained]} for example in self.examples
            ],
        }


def _lengths_json(lengths: Lengths) -> dict[str, Any]:
    tokens = lengths.tokens
    return {
        "is_sample": lengths.is_sample,
        "mean": round(float(np.mean(tokens)), 1) if tokens else 0,
        "median": int(np.median(tokens)) if tokens else 0,
        "max": max(tokens, default=0),
        "max_seq_length": lengths.max_length,
        "num_cut": lengths.counts.num_cut,
        "num_too_long": lengths.counts.num_too_long,
        "histogram": [list(row) for row in lengths.histogram()],
    }


def _refusal_json(refusal: DataError | None) -> dict[str, str] | None:
    if refusal is None:
        return None
    return {"what": str(refusal.what), "seen": str(refusal.seen or ""), "fix": str(refusal.fix)}


def _finding_json(finding: Finding) -> dict[str, Any]:
    places = [{"file": file, "line": line} for file, line in finding.places]
    return {
        "kind": finding.kind,
        "what": str(finding.what),
        "count": finding.count,
        "places": places,
        "sample": str(finding.sample or ""),
    }


def examine(dataset: Dataset, tokenizer: Any, max_length: int, end_ids: frozenset[int]) -> Diagnosis:
    """Look at every conversation."""
    seen = _look_at(dataset.train)
    lengths = _measure(tokenizer, dataset.train, max_length, end_ids)
    findings = [*_repetitions(dataset), *seen.findings.values()]
    examples = _examples(tokenizer, dataset.train, max_length, end_ids)
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
    if dataset.num_bad > MOST_BAD * dataset.num_rows:
        bad, total = f"{dataset.num_bad:,}", f"{dataset.num_rows:,}"
        return say("{bad} of {total} rows are broken. A training leaves out one in a hundred at most.", bad=bad, total=total)
    if not dataset.train:
        return say("There is nothing to train on.")
    counts = lengths.counts
    if counts.num_refused > MOST_LEFT_OUT * counts.num_rows:
        return say("{count} of {total} examples do not fit the chat template.", count=counts.num_refused, total=counts.num_rows)
    if counts.num_too_long > MOST_LEFT_OUT * counts.num_rows:
        lost = {"count": counts.num_too_long, "total": counts.num_rows, "length": lengths.max_length}
        return say("The answers of {count} of {total} examples alone are longer than {length} tokens.", **lost)
    return None


_KINDS = {
    "email": say("e-mail addresses"),
    "phone": say("telephone numbers"),
    "resident_number": say("resident registration numbers"),
    "mojibake": say("characters read in a wrong encoding"),
    "lost_characters": say("characters that are lost for good (�)"),
    "abrupt_answer": say("answers that seem to be cut off"),
    "turns_put_in_order": say("turns that had to be put in order"),
}


class _Look:
    """What single texts show."""

    def __init__(self) -> None:
        self.num_turns = 0
        self.languages: Counter[str] = Counter()
        self.findings = {kind: Finding(kind, what) for kind, what in _KINDS.items()}

    def at(self, conversation: Conversation, *, asks_language: bool) -> None:
        """Look at one conversation."""
        self.num_turns += len(conversation.turns)
        if asks_language:
            self.languages[language(conversation.answer)] += 1
        kinds: dict[str, Message | None] = {}
        for turn in conversation.turns:
            kinds.update(_in_text(turn.content))
        if ends_abruptly(conversation.answer):
            kinds["abrupt_answer"] = _seen(f"… {masked(conversation.answer[-400:])[-40:]}")
        if conversation.changes:
            kinds["turns_put_in_order"] = _together(conversation.changes)
        for kind, sample in kinds.items():
            self.findings[kind].add(conversation, sample)


def _look_at(conversations: Sequence[Conversation]) -> _Look:
    look = _Look()
    every = max(1, len(conversations) // NUM_LANGUAGES)
    with without_collection():
        for i, conversation in enumerate(conversations):
            look.at(conversation, asks_language=i % every == 0)
    return look


def _seen(text: str) -> Message:
    """Words of the data with private data masked, in which no braces are places to fill."""
    return Message("{text}", {"text": " ".join(masked(text).split())})


def _together(messages: Sequence[Message]) -> Message:
    """Several sentences as one."""
    names = [f"part_{i}" for i in range(len(messages))]
    return Message(", ".join(f"{{{name}}}" for name in names), dict(zip(names, messages, strict=True)))


def _in_text(text: str) -> Iterator[tuple[str, Message | None]]:
    for span in find_private(text):
        hidden = mask(text, [span])
        yield span.kind, _seen(hidden[span.start : span.end])
    if has_replacement(text):
        yield "lost_characters", None
    if (mended := mend_mojibake(text)) is not None:
        yield "mojibake", _seen(f"{masked(text[:400])[:20]} → {masked(mended[:400])[:20]}")


def _repetitions(dataset: Dataset) -> Iterator[Finding]:
    """The same example twice, and the same question with another answer or in nearly the same words."""
    questions, contents = (np.frombuffer(keys, dtype=np.uint64) for keys in (dataset.question_keys, dataset.content_keys))
    again = _is_repeated(contents)
    yield _of_rows(dataset, "duplicate", say("examples that are there more than once"), np.flatnonzero(again))
    asked_again = np.flatnonzero(_is_repeated(questions) & ~again)
    if len(set(dataset.question_keys[:2])) == 1 and len(asked_again) == len(questions) - 1:
        return  # one instruction for all
    yield _of_rows(dataset, "asked_again", say("questions that are asked again, in nearly the same words"), asked_again)


def _is_repeated(keys: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """For each place whether its key stood before."""
    is_repeated = np.ones(len(keys), dtype=bool)
    is_repeated[np.unique(keys, return_index=True)[1]] = False
    return is_repeated


def _of_rows(dataset: Dataset, kind: str, what: Message, rows: NDArray[np.int64]) -> Finding:
    shown = [dataset.train[row] for row in rows[:NUM_LINES].tolist()]
    sample = _seen(masked(question_of(shown[0])[:400])[:60]) if shown else None
    return Finding(kind, what, len(rows), [(conversation.file, conversation.line) for conversation in shown], sample)


def _spread(count: int, most: int) -> list[int]:
    """All of `count` places, or `most` of them at even distances."""
    return list(range(count)) if count <= most else [i * count // most for i in range(most)]


def _measure(tokenizer: Any, conversations: Sequence[Conversation], max_length: int, end_ids: frozenset[int]) -> Lengths:
    rows = _spread(len(conversations), MOST_ENCODED)
    encoding = Encoding(tokenizer, max_length, end_ids)
    tokens: list[int] = []
    num_trained = 0
    for _, example in encoding.usable(conversations[i] for i in rows):
        tokens.append(len(example.ids))
        num_trained += example.num_trained
    is_sample = len(rows) < len(conversations)
    if is_sample:
        num_trained = round(num_trained * len(conversations) / len(rows))
    return Lengths(tokens, num_trained, max_length, len(conversations), encoding.counts, is_sample, encoding.first_refusal)


def _examples(
    tokenizer: Any, conversations: Sequence[Conversation], max_length: int, end_ids: frozenset[int]
) -> tuple[Example, ...]:
    """The first, the middle and the last that fit; of those that lose something, one at most."""
    rows = dict.fromkeys([0, len(conversations) // 2, len(conversations) - 1, *range(min(50, len(conversations)))])
    encoding = Encoding(tokenizer, max_length, end_ids)
    found: list[Example] = []
    has_cut = False
    for row in rows:
        if not 0 <= row < len(conversations) or len(found) == NUM_EXAMPLES:
            continue
        for conversation, example in islice(encoding.usable([conversations[row]]), 1):
            if not example.cut:
                found.append(_example(shown_parts(tokenizer, conversation, end_ids)))
            elif not has_cut:
                has_cut = True
                found.append(_example(_decoded(tokenizer, example)))
    return tuple(found)


def _decoded(tokenizer: Any, example: Encoded) -> list[tuple[str, bool]]:
    """The text of an example that was cut, in pieces that are trained or not."""
    groups = groupby(zip(example.ids, example.trained, strict=True), key=lambda pair: pair[1])
    return [(str(tokenizer.decode([token for token, _ in group])), is_trained) for is_trained, group in groups]


def _example(parts: Sequence[tuple[str, bool]]) -> Example:
    text, trained = "", []
    for part, is_trained in parts:
        part = masked(part)
        if is_trained:
            trained.append((len(text), len(text) + len(part)))
        text += part
    return Example(text, tuple(trained))
