"""The end of a run as a report."""

from __future__ import annotations

from ..measure.paired import each_question
from ..plan.plan import Plan
from ..prove.check import Check
from ..report.outcome import NUM_FIRST, Report, Sample
from ..tokens.parts import Parts
from ..train.loop import Trained
from .measure import MeasuredAll, scores


def samples(parts: Parts, before: MeasuredAll, after: MeasuredAll) -> tuple[Sample, ...]:
    """Questions with the right answer and the answers before and after, for people to read: the first, and
    the worst answered.
    """
    old, new = (
        [round(100 * float(row[0]), 1) for row in side.main.rows["rouge_l"].values]
        for side in (before, after)
    )
    worst = sorted(range(len(new)), key=new.__getitem__)[:NUM_FIRST]
    right = before.main.references
    rows = list(zip(parts.heldout, before.main.answers, after.main.answers, old, new, strict=False))
    return tuple(
        Sample(rows[i][0].prompt[-1].content, right[i], rows[i][1].text, rows[i][2].text, i + 1, *rows[i][3:])
        for i in sorted({*range(min(NUM_FIRST, len(rows))), *worst})
    )


def conclude(
    plan: Plan,
    parts: Parts,
    before: MeasuredAll,
    after: MeasuredAll,
    trained: Trained,
    checks: tuple[Check, ...],
) -> Report:
    """Return all that was found, as the report has it."""
    main, unseen = scores(before, after)
    return Report(
        status="succeeded" if all(check.passed for check in checks) else "failed",
        model=plan.model.value,
        data=plan.data.value,
        before=before.main.metrics,
        after=after.main.metrics,
        unseen=unseen,
        train=trained,
        checks=checks,
        samples=samples(parts, before, after),
        scores=main,
        each=each_question(parts.heldout, after.main.rows),
        system=parts.system,
        num_heldout=len(parts.heldout),
    )
