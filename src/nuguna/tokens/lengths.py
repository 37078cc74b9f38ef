"""How many tokens the examples of a dataset have, and some of them as the model sees them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby, islice
from typing import Any

import numpy as np

from ..data.conversations.conversation import Conversation
from ..errors import DataError
from ..text.private import masked
from .choose import Encoding, ExampleCounts
from .encode import Encoded, shown_parts
from .tokenizer_protocol import Tokenizer

NUM_EXAMPLES = 3
# conversations that are encoded to count tokens; of more, as many drawn at even distances
MAX_ENCODED = 20_000
NUM_BINS = 10


@dataclass(frozen=True)
class Lengths:
    """How many tokens examples have. `is_sample`: not all were encoded; `refusal`: why the first was refused
    that was.
    """

    tokens: Sequence[int]
    num_trained: int  # of all examples; estimated if `is_sample`
    max_length: int
    num_rows: int
    counts: ExampleCounts
    is_sample: bool
    refusal: DataError | None = None

    @property
    def num_usable(self) -> int:
        """Examples that fit; estimated if `is_sample`."""
        share = len(self.tokens) / max(1, self.counts.num_rows)
        return round(share * self.num_rows) if self.is_sample else len(self.tokens)

    def histogram(self) -> list[tuple[int, int, int]]:
        """Return (first length, last length, examples) of bins of equal width; the last takes what is longer
        than 99 in 100.
        """
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


def lengths_json(lengths: Lengths) -> dict[str, Any]:
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


def spread(count: int, most: int) -> list[int]:
    """Return all of `count` places, or `most` of them at even distances."""
    return list(range(count)) if count <= most else [i * count // most for i in range(most)]


def measure_lengths(
    tokenizer: Tokenizer, conversations: Sequence[Conversation], max_length: int, eos_ids: frozenset[int]
) -> Lengths:
    rows = spread(len(conversations), MAX_ENCODED)
    encoding = Encoding(tokenizer, max_length, eos_ids)
    tokens: list[int] = []
    num_trained = 0
    for _, example in encoding.usable(conversations[i] for i in rows):
        tokens.append(len(example.ids))
        num_trained += example.num_trained
    is_sample = len(rows) < len(conversations)
    if is_sample:
        num_trained = round(num_trained * len(conversations) / len(rows))
    return Lengths(
        tokens,
        num_trained,
        max_length,
        len(conversations),
        encoding.counts,
        is_sample,
        encoding.first_refusal,
    )


def draw_examples(
    tokenizer: Tokenizer, conversations: Sequence[Conversation], max_length: int, eos_ids: frozenset[int]
) -> tuple[Example, ...]:
    """Return the first, the middle and the last that fit; of those that lose something, one at most."""
    rows = dict.fromkeys(
        [0, len(conversations) // 2, len(conversations) - 1, *range(min(50, len(conversations)))]
    )
    encoding = Encoding(tokenizer, max_length, eos_ids)
    found: list[Example] = []
    has_cut = False
    for row in rows:
        if not 0 <= row < len(conversations) or len(found) == NUM_EXAMPLES:
            continue
        for conversation, example in islice(encoding.usable([conversations[row]]), 1):
            if not example.cut:
                found.append(_example(shown_parts(tokenizer, conversation, eos_ids)))
            elif not has_cut:
                has_cut = True
                found.append(_example(_decoded(tokenizer, example)))
    return tuple(found)


def _decoded(tokenizer: Tokenizer, example: Encoded) -> list[tuple[str, bool]]:
    """Return the text of an example that was cut, in pieces that are trained or not."""
    groups = groupby(
        zip(example.ids.tolist(), example.loss_mask.tolist(), strict=True), key=lambda pair: pair[1]
    )
    return [
        (str(tokenizer.decode([token for token, _ in group])), is_trained) for is_trained, group in groups
    ]


def _example(parts: Sequence[tuple[str, bool]]) -> Example:
    text, trained = "", []
    for part, is_trained in parts:
        part = masked(part)
        if is_trained:
            trained.append((len(text), len(text) + len(part)))
        text += part
    return Example(text, tuple(trained))
