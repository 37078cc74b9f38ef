"""What can be said of answers alone: how long they are, whether they repeat themselves, in which language
they are.
"""

from __future__ import annotations

from collections.abc import Sequence

from .bootstrap import Rows, mean_of, ratio_of
from .words_of import Tokenization

RUN = 4  # words; the same run again is a repetition


def described(
    answers: Sequence[str], languages: Sequence[tuple[str, str]], way: Tokenization
) -> dict[str, Rows]:
    """Length, repetition and language of answers; `languages` are those of each question and its answer
    ("none": no letters).
    """
    split = [way.words(answer) for answer in answers]
    return {
        "answer_words": mean_of([float(len(words)) for words in split]),
        "repetition": ratio_of([repeated(words) for words in split], 100),
        "same_language": ratio_of(
            [(float(asked == said), 1.0) if asked != "none" else (0.0, 0.0) for asked, said in languages], 100
        ),
    }


def repeated(words: Sequence[str]) -> tuple[float, float]:
    """Return (runs of four words that stood in the same answer before, all runs)."""
    runs = [tuple(words[i : i + RUN]) for i in range(len(words) - RUN + 1)]
    return float(len(runs) - len(set(runs))), float(len(runs))
