"""Finished runs beside each other, as values: what differs, which is best on the held-out questions, and
could that be chance?
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from ..measure.bootstrap import LEAST, Score
from ..measure.metric_table import Metric, metric_named
from ..measure.paired import EachQuestion, paired, shared_marks
from ..message import Message, say
from ..plan.plan_values import WITHOUT_EFFECT
from ..train.step_log import LoggedStep
from .outcome import Sample
from .verdict import CHOICE, LOSS, ROUGE_L, VERDICTS, judge

# These change no result, or are another view of the same: nobody compares runs by them.
# What decides which questions are measured; asked only where a report does not name them.
_QUESTIONS = ("data", "data_columns", "seed", "heldout_examples", "max_seq_length")
# of the first run over another; never behind it
LEADS = {**VERDICTS, "better": say("really ahead"), "same": say("equal")}
MAX_NAMED = 3  # runs that the best one is held against in sentences; the numbers are of all


@dataclass(frozen=True)
class Run:
    """What one folder says. `training`: steps, tokens, seconds, tokens_per_second, peak_memory_bytes;
    `checks`: name, passed.
    """

    name: str
    status: str
    settings: Mapping[str, Any]
    before: Mapping[str, Score]
    after: Mapping[str, Score]
    tokenization: str
    training: Mapping[str, float]
    checks: tuple[tuple[str, bool], ...] = ()
    each: EachQuestion | None = None  # None: of a report that does not tell
    samples: tuple[Sample, ...] = ()
    steps: tuple[LoggedStep, ...] = ()


@dataclass(frozen=True)
class Comparison:
    """Runs in the order in which they were named."""

    runs: tuple[Run, ...]

    @cached_property
    def labels(self) -> tuple[str, ...]:
        """The last part of each folder's name where that tells them apart, else what was typed."""
        short = tuple(Path(run.name).resolve().name for run in self.runs)
        return short if len(set(short)) == len(short) and all(short) else tuple(run.name for run in self.runs)

    @cached_property
    def differing(self) -> dict[str, tuple[Any, ...]]:
        """Settings that are not the same in all runs."""
        names = dict.fromkeys(
            name for run in self.runs for name in run.settings if name not in WITHOUT_EFFECT
        )
        values = {name: tuple(run.settings.get(name) for run in self.runs) for name in names}
        return {name: row for name, row in values.items() if any(value != row[0] for value in row)}

    @cached_property
    def shared(self) -> tuple[str, ...] | None:
        """The marks of the questions that all were measured on; None where a report does not tell."""
        sides = [run.each for run in self.runs if run.each is not None]
        return tuple(shared_marks(sides)) if len(sides) == len(self.runs) else None

    @cached_property
    def has_same_questions(self) -> bool:
        """Whether every number of every run was measured on the same questions."""
        if self.shared is None:
            return not any(name in self.differing for name in _QUESTIONS)
        return all(run.each is not None and set(run.each.marks) == set(self.shared) for run in self.runs)

    @property
    def is_apart(self) -> bool:
        """Whether there are too few common questions to rank by."""
        if self.has_same_questions:
            return False
        return self.shared is None or len(self.shared) < LEAST

    @property
    def warnings(self) -> list[Message]:
        """Why numbers may not be comparable."""
        found = []
        if not self.has_same_questions:
            found.append(
                say("These runs were measured on different questions: compare their numbers with care.")
            )
        if len({run.tokenization for run in self.runs}) > 1:
            found.append(say("These runs split texts in different ways: ROUGE and BLEU cannot be compared."))
        if len({run.settings.get("model") for run in self.runs}) > 1:
            found.append(
                say("These runs have different base models: loss and perplexity cannot be compared.")
            )
        return found

    def scores(self) -> dict[str, tuple[Score | None, ...]]:
        """metric → its value after training in each run; None where it was not measured."""
        names = dict.fromkeys(name for run in self.runs for name in run.after)
        return {name: tuple(run.after.get(name) for run in self.runs) for name in names}

    def is_comparable(self, name: str) -> bool:
        """Return whether all runs have this metric, in the same sense."""
        depends_on = metric_named(name).depends_on
        if depends_on == "tokens" and len({run.settings.get("model") for run in self.runs}) > 1:
            return False
        if depends_on == "words" and len({run.tokenization for run in self.runs}) > 1:
            return False
        return not self.is_apart and all(name in run.after for run in self.runs)

    def values(self, name: str) -> list[float]:
        """Return a metric of each run, on the shared questions where these are known."""
        if (rows := self._paired(name)) is not None:
            marks = self.shared or ()
            return [side.rows(name, marks).value for side in rows]
        return [run.after[name].value for run in self.runs]

    def leader(self, name: str) -> int:
        """Return the run with the best value, by chance or not."""
        values, sign = self.values(name), 1 if metric_named(name).higher_is_better else -1
        return max(range(len(values)), key=lambda i: sign * values[i])

    def lead(self, name: str, one: int, other: int) -> Score | None:
        """Return how much more run `one` has of a metric than run `other`, on the shared questions; None
        where reports do not tell.
        """
        rows = self._paired(name)
        return None if rows is None else paired(rows[other], rows[one], name, self.shared or ())

    def best(self, name: str) -> int | None:
        """Return the run that is better than every other by more than chance; None if none is, or if they
        cannot be compared.

        Question by question where the reports have that; else its interval must touch none of theirs, which
        asks for more. Each difference is held against its own 95 %: to beat all others by luck is harder than
        to beat one.
        """
        metric = metric_named(name)
        if metric.higher_is_better is None or not self.is_comparable(name):
            return None
        first = self.leader(name)
        others = [i for i in range(len(self.runs)) if i != first]
        leads = [self.lead(name, first, other) for other in others]
        if all(lead is not None for lead in leads):
            return (
                first if all(lead is not None and judge(metric, lead) == "better" for lead in leads) else None
            )
        bounds = [_bounds(run.after[name], metric.higher_is_better) for run in self.runs]
        if not self.has_same_questions or any(bound is None for bound in bounds):
            return None
        known = [bound for bound in bounds if bound is not None]
        return first if all(known[first][0] > known[other][1] for other in others) else None

    def _paired(self, name: str) -> list[EachQuestion] | None:
        sides = [run.each for run in self.runs if run.each is not None and name in run.each.sums]
        return sides if self.shared and len(sides) == len(self.runs) else None

    def to_json(self) -> dict[str, Any]:
        """Return the document of `nuguna compare --json`."""
        ranking = rank(self)
        runs = [
            {
                "run": run.name,
                "status": run.status,
                "before": {name: score.to_json() for name, score in run.before.items()},
                "after": {name: score.to_json() for name, score in run.after.items()},
                "tokenization": run.tokenization,
                "train": dict(run.training),
            }
            for run in self.runs
        ]
        return {
            "settings": {n: list(v) for n, v in self.differing.items()},
            "runs": runs,
            "warnings": [str(w) for w in self.warnings],
            "num_shared_questions": None if self.shared is None else len(self.shared),
            "verdict": {
                "kind": ranking.kind,
                "run": None if ranking.first is None else self.runs[ranking.first].name,
                "text": str(ranking.headline),
                "reasons": [str(reason) for reason in ranking.reasons],
            },
        }


def _bounds(score: Score, higher_is_better: bool) -> tuple[float, float] | None:
    """Return (low, high) of a score on a scale where more is better."""
    if score.low is None or score.high is None:
        return None
    return (score.low, score.high) if higher_is_better else (-score.high, -score.low)


@dataclass(frozen=True)
class Ranking:
    """The verdict on several runs: one of the kinds in `_headline`, and the run that it names."""

    kind: str
    first: int | None
    headline: Message
    reasons: tuple[Message, ...]


def rank(found: Comparison) -> Ranking:
    """Return which run is best on the held-out questions. Its answers decide, as in the verdict on one run;
    where these could be chance, how likely it finds the right ones (loss).
    """
    answers = next((m for m in (CHOICE, ROUGE_L) if found.is_comparable(m.name)), None)
    metric = answers or (LOSS if found.is_comparable(LOSS.name) else None)
    if metric is None:
        kind = "apart" if found.is_apart else "unlike"
        return Ranking(
            kind, None, _headline(kind, ""), (*(_distance(found) if found.is_apart else ()), *_failed(found))
        )
    kind, first = _judged(found, metric)
    if kind == "best" and answers is None:
        kind = "loss_only"
    likelier = found.best(LOSS.name) if metric is not LOSS else None
    if kind in ("chance", "alike") and likelier is not None:
        kind, first, metric = "likelier", likelier, LOSS
    reasons = [_basis(found), *_leads(found, metric, first)]
    if kind == "best" and likelier not in (None, first):
        values = found.values(LOSS.name)
        reasons.append(
            say(
                "But the right answers surprise {other} less, and that is more than chance (loss {low}, "
                "against {high}).",
                other=found.labels[likelier or 0],
                low=LOSS.show(values[likelier or 0]),
                high=LOSS.show(values[first]),
            )
        )
    if kind == "chance":
        reasons.append(
            say("More questions would tell: set a larger heldout_examples in the plan files and train again.")
        )
    named = None if kind in ("alike", "unknown") else first
    return Ranking(kind, named, _headline(kind, found.labels[first]), (*reasons, *_failed(found)))


def _judged(found: Comparison, metric: Metric) -> tuple[str, int]:
    """Return what one metric says, and who is ahead in it."""
    first = found.leader(metric.name)
    if found.best(metric.name) is not None:
        return "best", first
    leads = [found.lead(metric.name, first, other) for other in range(len(found.runs)) if other != first]
    verdicts = {judge(metric, lead) for lead in leads if lead is not None}
    has_intervals = all(run.after[metric.name].low is not None for run in found.runs)
    if "unknown" in verdicts or (not verdicts and not has_intervals):
        return "unknown", first
    return "alike" if verdicts == {"same"} else "chance", first


def _headline(kind: str, name: str) -> Message:
    return {
        "best": say("{name} is best on the held-out questions, and that is more than chance.", name=name),
        "likelier": say(
            "Which run answers best could be chance, but the right answers surprise {name} least.", name=name
        ),
        "loss_only": say(
            "The right answers surprise {name} least. The scores of the answers cannot be compared.",
            name=name,
        ),
        "chance": say(
            "No run is better than all others by more than chance. {name} is ahead, for now.", name=name
        ),
        "alike": say("These runs answer equally well."),
        "unknown": say("Too few questions were held out to say which run is best."),
        "apart": say("These runs were measured on different questions, so they cannot be ranked."),
        "unlike": say("These runs were measured in different ways, so they cannot be ranked."),
    }[kind]


def _basis(found: Comparison) -> Message:
    """Return which questions a verdict rests on."""
    if found.shared is None:
        return say(
            "Not every report lists its questions; going by the settings of the runs, they were the same."
        )
    if found.has_same_questions:
        return say(
            "All were asked the same {count} questions, which none of them was trained on.",
            count=f"{len(found.shared):,}",
        )
    return say(
        "Not all of their questions are the same. This verdict rests on the {count} that all were asked.",
        count=f"{len(found.shared):,}",
    )


def _distance(found: Comparison) -> list[Message]:
    """Return how far apart the questions of runs are that cannot be ranked."""
    if found.shared is not None:
        return [say("Only {count} of their questions are the same.", count=len(found.shared))]
    names = ", ".join(name for name in _QUESTIONS if name in found.differing)
    return [say("These settings decide which questions are held out, and they differ: {names}.", names=names)]


def _leads(found: Comparison, metric: Metric, first: int) -> list[Message]:
    """Return the best run beside those that come nearest to it."""
    values, sentences = found.values(metric.name), []
    others = sorted(
        (i for i in range(len(found.runs)) if i != first), key=lambda i: abs(values[i] - values[first])
    )
    for other in others[:MAX_NAMED]:
        told = {
            "measure": _title(metric),
            "name": found.labels[first],
            "value": metric.show(values[first]),
            "other": found.labels[other],
            "other_value": metric.show(values[other]),
        }
        lead = found.lead(metric.name, first, other)
        if lead is None or lead.low is None or lead.high is None or lead.low == lead.high:
            sentences.append(say("{measure}: {name} {value}, {other} {other_value}.", **told))
            continue
        ends = {"low": metric.show(lead.low, signed=True), "high": metric.show(lead.high, signed=True)}
        sentences.append(
            say(
                "{measure}: {name} {value}, {other} {other_value}. With other questions the difference "
                "would most likely lie between {low} and {high}: {verdict}.",
                **told,
                **ends,
                verdict=LEADS[judge(metric, lead)],
            )
        )
    return sentences


def _title(metric: Metric) -> Message:
    if not metric.technical:
        return metric.title
    return say("{title} ({technical})", title=metric.title, technical=metric.technical)


def _failed(found: Comparison) -> Sequence[Message]:
    return [
        say("{name} did not pass all its checks: do not rely on it.", name=label)
        for label, run in zip(found.labels, found.runs, strict=True)
        if run.status != "succeeded"
    ]
