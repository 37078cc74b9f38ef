"""Scores of answers against references: ROUGE-L, BLEU, chrF, key terms. All on a scale of 0 to 100.

Words are runs of letters or digits in any script, so Korean counts. The customary `rouge-score` tokenizer keeps ASCII only and
gives two identical Korean sentences 0; that is why ours is passed in.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

_WORD = re.compile(r"\w+|[^\w\s]", re.UNICODE)
_LETTERS = re.compile(r"\w+", re.UNICODE)


def words(text: str) -> list[str]:
    """Lower-case words without punctuation: '고혈압은 병입니다.' → ['고혈압은', '병입니다']."""
    return _LETTERS.findall(text.lower())


class _Words:
    """`words` in the form that rouge-score asks for."""

    def tokenize(self, text: str) -> list[str]:
        return words(text)


def score(answers: Sequence[str], references: Sequence[str]) -> dict[str, float]:
    """Mean ROUGE-L (F1), corpus BLEU over words and punctuation, corpus chrF.

    Sources: Lin 2004 by rouge-score; Papineni et al. 2002 and Popović 2015 by sacrebleu, which gets the words already split.
    """
    from rouge_score.rouge_scorer import RougeScorer
    from sacrebleu.metrics import BLEU, CHRF

    scorer = RougeScorer(["rougeL"], tokenizer=_Words())
    rouge = [scorer.score(r, a)["rougeL"].fmeasure for a, r in zip(answers, references, strict=True)]
    split_answers = [" ".join(_WORD.findall(a.lower())) for a in answers]
    split_references = [" ".join(_WORD.findall(r.lower())) for r in references]
    bleu = BLEU(tokenize="none", effective_order=False, force=True).corpus_score(split_answers, [split_references]).score
    chrf = CHRF().corpus_score(list(answers), [list(references)]).score
    return {
        "rouge_l": round(100 * sum(rouge) / len(rouge), 2),
        "bleu": round(float(bleu), 2),
        "chrf": round(float(chrf), 2),
    }


def key_terms(answers: Sequence[str], terms: Sequence[Sequence[str]]) -> float | None:
    """Percentage of the terms that stand in their answer, letter for letter but for case; None when no row names terms."""
    found = [term.lower() in answer.lower() for answer, row in zip(answers, terms, strict=True) for term in row]
    return round(100 * sum(found) / len(found), 2) if found else None
