"""What is counted of conversations while they are read, so that nobody has to look at all of them again."""

from __future__ import annotations

import math
import re
from array import array
from collections.abc import Mapping
from typing import Any

from ..message import Message
from .conversations.conversation import Conversation
from .files.rows import BadRow
from .similar import content_key, question_key

MAX_KEPT = 100_000  # bad rows that are remembered one by one
STEPS_A_DOUBLING = 8  # of the histogram of lengths: each step is 9 % wide
_HANGUL = re.compile("[가-힣]")
_SUMS = ("num_rows", "num_bad", "num_unwanted", "num_chars", "num_changed", "num_korean", "num_reasoning")
_ARRAYS = ("question_keys", "content_keys")


class RowCounts:
    """Sums over rows and conversations. Those of two parts of a table are added by `add`."""

    def __init__(self) -> None:
        self.bad_rows: list[BadRow] = []
        self.num_rows = self.num_bad = self.num_unwanted = self.num_chars = self.max_chars = (
            self.num_changed
        ) = 0
        # conversations by the logarithm of their characters
        self.length_counts = [0] * (40 * STEPS_A_DOUBLING)
        self.num_korean = self.num_reasoning = 0
        # what the system says in different conversations; two are enough to know that they differ
        self.systems: set[str] = set()
        self.question_keys, self.content_keys = array("Q"), array("Q")

    def leave_out(self, row: BadRow) -> None:
        """A row that cannot be used, or is not to be trained."""
        if row.is_unwanted:
            self.num_unwanted += 1
            return
        self.num_bad += 1
        if len(self.bad_rows) < MAX_KEPT:
            self.bad_rows.append(row)

    def take(self, conversation: Conversation) -> None:
        """A conversation that is used."""
        self.question_keys.append(question_key(conversation))
        self.content_keys.append(content_key(conversation))
        num_chars, is_korean, thinks = 0, False, False
        for turn in conversation.turns:  # one loop: this is done for each of millions of rows
            content = turn.content
            num_chars += len(content)
            is_korean = is_korean or (not content.isascii() and _HANGUL.search(content) is not None)
            thinks = thinks or turn.reasoning != ""
        self.num_korean += is_korean
        self.num_reasoning += thinks
        self.num_chars += num_chars
        self.max_chars = max(self.max_chars, num_chars)
        self.length_counts[math.ceil(STEPS_A_DOUBLING * math.log2(max(1, num_chars)))] += 1
        self.num_changed += bool(conversation.changes)
        if len(self.systems) < 2:
            self.systems.add(conversation.system)

    def add(self, other: RowCounts) -> None:
        """What was counted of rows further down."""
        for name in _SUMS:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.bad_rows += other.bad_rows[: MAX_KEPT - len(self.bad_rows)]
        self.max_chars = max(self.max_chars, other.max_chars)
        self.length_counts = [a + b for a, b in zip(self.length_counts, other.length_counts, strict=True)]
        self.systems = set(sorted(self.systems | other.systems)[:2])
        for name in _ARRAYS:
            getattr(self, name).extend(getattr(other, name))

    def quantile_chars(self, share: float) -> int:
        """As many characters as this share of the conversations has at most, within 5 %."""
        left = share * sum(self.length_counts)
        for step, count in enumerate(self.length_counts):
            left -= count
            if left <= 0:
                return min(self.max_chars, math.ceil(2 ** ((step - 0.5) / STEPS_A_DOUBLING)))
        return self.max_chars

    def to_json(self) -> dict[str, Any]:
        """Return all but the keys, which `arrays` gives."""
        facts = {name: getattr(self, name) for name in (*_SUMS, "max_chars", "length_counts")}
        rows = [
            {**vars(row), "problem": row.problem.to_json(), "fix": row.fix.to_json()} for row in self.bad_rows
        ]
        return {**facts, "systems": sorted(self.systems), "bad_rows": rows}

    def arrays(self) -> dict[str, array[int]]:
        """Return the keys of all conversations, in their order."""
        return {name: getattr(self, name) for name in _ARRAYS}

    def set_to(self, facts: Mapping[str, Any], arrays: Mapping[str, array[int]]) -> None:
        """Become what `to_json` and `arrays` gave. Raises `KeyError`, `TypeError` or `ValueError` when it is
        not that.
        """
        for name in (*_SUMS, "max_chars", "length_counts"):
            setattr(self, name, facts[name])
        self.systems = set(facts["systems"])
        self.bad_rows = [
            BadRow(
                **{**row, "problem": Message.from_json(row["problem"]), "fix": Message.from_json(row["fix"])}
            )
            for row in facts["bad_rows"]
        ]
        for name in _ARRAYS:
            setattr(self, name, arrays[name])
