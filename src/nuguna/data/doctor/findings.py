"""What is in a dataset, and what is wrong with it: `nuguna data`. Everything is counted here and shown
elsewhere.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...message import Message, say
from ...text.private import find_private, mask, masked
from ..conversations.conversation import Conversation
from ..dataset import Dataset
from ..reading import without_collection
from ..similar import question_of
from .mojibake import fix_mojibake, has_replacement
from .text_signs import ends_abruptly, language

NUM_LINES = 5  # places named for each finding
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


def finding_json(finding: Finding) -> dict[str, Any]:
    places = [{"file": file, "line": line} for file, line in finding.places]
    return {
        "kind": finding.kind,
        "what": str(finding.what),
        "count": finding.count,
        "places": places,
        "sample": str(finding.sample or ""),
    }


_KINDS = {
    "email": say("e-mail addresses"),
    "phone": say("telephone numbers"),
    "resident_number": say("resident registration numbers"),
    "mojibake": say("characters read in the wrong encoding"),
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


def look_at(conversations: Sequence[Conversation]) -> _Look:
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
    if (mended := fix_mojibake(text)) is not None:
        yield "mojibake", _seen(f"{masked(text[:400])[:20]} → {masked(mended[:400])[:20]}")


def repetitions(dataset: Dataset) -> Iterator[Finding]:
    """Yield the same example twice, and the same question with another answer or in nearly the same words."""
    questions, contents = (
        np.frombuffer(keys, dtype=np.uint64) for keys in (dataset.question_keys, dataset.content_keys)
    )
    again = _is_repeated(contents)
    yield _of_rows(dataset, "duplicate", say("examples that occur more than once"), np.flatnonzero(again))
    asked_again = np.flatnonzero(_is_repeated(questions) & ~again)
    if len(set(dataset.question_keys[:2])) == 1 and len(asked_again) == len(questions) - 1:
        return  # one instruction for all
    yield _of_rows(
        dataset, "asked_again", say("questions that are asked again in nearly the same words"), asked_again
    )


def _is_repeated(keys: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """For each place whether its key stood before."""
    is_repeated = np.ones(len(keys), dtype=bool)
    is_repeated[np.unique(keys, return_index=True)[1]] = False
    return is_repeated


def _of_rows(dataset: Dataset, kind: str, what: Message, rows: NDArray[np.int64]) -> Finding:
    shown = [dataset.train[row] for row in rows[:NUM_LINES].tolist()]
    sample = _seen(masked(question_of(shown[0])[:400])[:60]) if shown else None
    return Finding(
        kind, what, len(rows), [(conversation.file, conversation.line) for conversation in shown], sample
    )
