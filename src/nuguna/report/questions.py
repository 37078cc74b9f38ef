"""Held-out questions side by side: which words an answer shares with the right one, and which questions were
answered worst.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from itertools import groupby
from typing import Any

from ..measure.words_of import one_form, without_particle
from .outcome import NUM_FIRST, Sample

_WORD = re.compile(r"[^\W_]+")
_LITTLE = re.compile(r"[A-Za-z][a-z]{0,2}")  # the, of, is, a; but not MRI


def marked(text: str, reference: str) -> list[tuple[str, bool]]:
    """Return the text in pieces, each with whether the reference has these words too, each word as often as
    there.

    A Korean word counts without its particle: 약을 is found in 약은. Little words such as "of" are marked
    beside others only.
    """
    text = one_form(text)
    left = Counter(_stem(word[0]) for word in _WORD.finditer(one_form(reference)))
    words = list(_WORD.finditer(text))
    shared = []
    for word in words:
        stem = _stem(word[0])
        shared.append(left[stem] > 0)
        left[stem] -= shared[-1]
    pieces: list[tuple[str, bool]] = []
    end = 0
    for is_shared, run in groupby(range(len(words)), key=shared.__getitem__):
        numbers = list(run)
        says_something = is_shared and not all(_LITTLE.fullmatch(words[i][0]) for i in numbers)
        for i in numbers:
            gap = text[end : words[i].start()]
            together = says_something and i != numbers[0] and gap.isspace()  # one mark for neighbours
            pieces += [(gap, together), (words[i][0], says_something)]
            end = words[i].end()
    return _joined([*pieces, (text[end:], False)])


def _stem(word: str) -> str:
    return without_particle(word.lower())[0]


def _joined(pieces: Sequence[tuple[str, bool]]) -> list[tuple[str, bool]]:
    """Neighbouring pieces of one kind as one, empty ones left out."""
    joined: list[tuple[str, bool]] = []
    for text, is_shared in pieces:
        if not text:
            continue
        if joined and joined[-1][1] == is_shared:
            joined[-1] = (joined[-1][0] + text, is_shared)
        else:
            joined.append((text, is_shared))
    return joined


def questions(samples: Sequence[Sample]) -> list[dict[str, Any]]:
    """Samples as the page shows them, in their order. `worst`: their place when the worst answered come
    first, 0 for those that are not among them; `first`: whether they are among the first questions.
    """
    scored = [sample for sample in samples if sample.rouge_l_after is not None]
    places = {
        id(s): i + 1 for i, s in enumerate(sorted(scored, key=lambda s: s.rouge_l_after or 0.0)[:NUM_FIRST])
    }
    return [
        {
            "number": sample.number or i + 1,
            "question": sample.question,
            "reference": sample.reference,
            "before": marked(sample.before.strip(), sample.reference),
            "after": marked(sample.after.strip(), sample.reference),
            "score_before": _points(sample.rouge_l_before),
            "score_after": _points(sample.rouge_l_after),
            "first": sample.number <= NUM_FIRST,
            "worst": places.get(id(sample), 0),
        }
        for i, sample in enumerate(samples)
    ]


def _points(score: float | None) -> str:
    return "" if score is None else f"{score:.0f}"
