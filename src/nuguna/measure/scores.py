"""Answers compared with references: ROUGE, BLEU, chrF, exact match, shared words. All on a scale of 0 to 100.

Sources: Lin 2004 by rouge-score; Papineni et al. 2002 and Popović 2015 by sacrebleu; exact match and word F1
as in SQuAD (Rajpurkar et al. 2016, section 4.2).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from .bootstrap import Rows, mean_of, ratio_of
from .words_of import Tokenization, find_tokenization, one_form

ROUGE = {"rouge_1": "rouge1", "rouge_2": "rouge2", "rouge_l": "rougeL"}


def compare(
    answers: Sequence[str], references: Sequence[str], tokenization: Tokenization | None = None
) -> dict[str, Rows]:
    """Return every score by its name, with what each pair adds to it. Without a tokenization, the one that
    fits the references.
    """
    way = tokenization or find_tokenization(references)
    split = [
        (way.words(answer), way.words(reference))
        for answer, reference in zip(answers, references, strict=True)
    ]
    return {
        **_rouge(split),
        "bleu": _bleu(answers, references, way),
        "chrf": _chrf(answers, references),
        "exact_match": mean_of([float(answer == reference) for answer, reference in split], 100),
        "word_f1": mean_of([word_f1(answer, reference) for answer, reference in split], 100),
    }


def signatures(tokenization: Tokenization) -> dict[str, str]:
    """Return how each score was computed, in the form in which papers give it."""
    own = "" if _is_usual(tokenization) else f"|{tokenization.signature}"
    return {
        "rouge": f"{tokenization.signature}|rouge-score:F1",
        "bleu": _signature(_bleu_metric(tokenization)) + own,
        "chrf": _signature(_chrf_metric()),
    }


def _signature(metric: Any) -> str:
    metric.corpus_score(["a"], [["a"]])  # before it knows how many references there are it does not tell
    return str(metric.get_signature())


class _Given:
    """Words that were already taken apart, in the form that rouge-score asks for."""

    def tokenize(self, text: str) -> list[str]:
        return text.split("\0")


def _rouge(split: Sequence[tuple[list[str], list[str]]]) -> dict[str, Rows]:
    from rouge_score.rouge_scorer import RougeScorer

    scorer = RougeScorer(list(ROUGE.values()), tokenizer=_Given())
    found: dict[str, list[float]] = {name: [] for name in ROUGE}
    for answer, reference in split:
        # two equal texts of one word share no pair of words, and two empty ones no word at all
        made = None if answer == reference else scorer.score("\0".join(reference), "\0".join(answer))
        for name, theirs in ROUGE.items():
            found[name].append(1.0 if made is None else made[theirs].fmeasure)
    return {name: mean_of(values, 100) for name, values in found.items()}


def _is_usual(way: Tokenization) -> bool:
    return way.name == "words"


def _bleu_metric(way: Tokenization) -> Any:
    from sacrebleu.metrics import BLEU

    # 13a is what everybody compares in English. What is shorter than four words has no run of four:
    # `effective_order` leaves it out, and changes nothing else
    return BLEU(tokenize="13a" if _is_usual(way) else "none", effective_order=True, force=True)


def _chrf_metric() -> Any:
    from sacrebleu.metrics import CHRF

    return CHRF()


def _bleu(answers: Sequence[str], references: Sequence[str], way: Tokenization) -> Rows:
    texts = [(one_form(a), one_form(r)) for a, r in zip(answers, references, strict=True)]
    if not _is_usual(way):
        texts = [(" ".join(way.words_and_signs(a)), " ".join(way.words_and_signs(r))) for a, r in texts]
    return _by_sacrebleu(_bleu_metric(way), texts)


def _chrf(answers: Sequence[str], references: Sequence[str]) -> Rows:
    return _by_sacrebleu(
        _chrf_metric(), [(one_form(a), one_form(r)) for a, r in zip(answers, references, strict=True)]
    )


def _by_sacrebleu(metric: Any, texts: Sequence[tuple[str, str]]) -> Rows:
    """Return what sacrebleu counts for each pair. Its own significance test is built on these two calls,
    which have no public name.
    """
    counted = metric._extract_corpus_statistics([a for a, _ in texts], [[r for _, r in texts]])
    if not any(a or r for a, r in texts):  # nothing was asked for and nothing said
        return mean_of([1.0] * len(texts), 100)

    def score(sums: np.ndarray[Any, np.dtype[np.float64]]) -> float:
        return float(metric._compute_score_from_stats([int(number) for number in sums]).score)

    return Rows(np.array(counted, dtype=np.float64), score)


def word_f1(answer: Sequence[str], reference: Sequence[str]) -> float:
    """Return of the words of both, whatever their order, how many the other has too, 0 to 1."""
    shared = sum((Counter(answer) & Counter(reference)).values())
    if not answer or not reference:
        return float(answer == reference)
    return 2 * shared / (len(answer) + len(reference))


def key_terms(answers: Sequence[str], terms: Sequence[Sequence[str]]) -> Rows | None:
    """Percentage of the terms that stand in their answer, letter for letter but for case; None when no row
    names terms.
    """
    if not any(terms):
        return None
    pairs = []
    for answer, row in zip(answers, terms, strict=True):
        text = one_form(answer).lower()
        pairs.append((float(sum(one_form(term).lower() in text for term in row)), float(len(row))))
    return ratio_of(pairs, 100)
