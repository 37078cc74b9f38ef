"""What to try next, derived from the numbers of a run, with the line to type."""

from __future__ import annotations

import math
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, variance

from ..disk.run_folder import PLAN
from ..message import Message, say
from ..train.step_log import LoggedStep
from .outcome import Report
from .verdict import LOSS, answers_change, judge

STOPS = 0.9  # share of answers that should end by themselves, as in checks.py
REPEATS = 10.0  # percent of runs of four words; the right answers of the demo set repeat 0.2 %
FALLS = 0.05  # of the loss, from one third of a training to another; less is no reason to train again
MIN_STEPS = 12  # fewer show no trend


@dataclass(frozen=True)
class Tried:
    """What a run was made with, as far as the next one may change it."""

    output_dir: str
    max_steps: int
    learning_rate: float
    max_seq_length: int
    heldout_examples: int


@dataclass(frozen=True)
class Advice:
    """A finding, and the commands that may mend it; each is enough."""

    name: str
    text: Message
    commands: tuple[str, ...] = ()


def advice(report: Report, steps: Sequence[LoggedStep], tried: Tried) -> tuple[Advice, ...]:
    """Return what to try, the gravest first. Where nothing stands out it is one, `fine`, without a
    command.
    """
    rose = _heldout_rose(report, tried)
    found = [
        rose,
        _answers_worse(report, tried),
        None if rose else _still_falling(steps, tried),
        _stops_rarely(report, tried),
        _repeats(report, tried),
        _not_nearer(report, tried),
        _could_be_chance(report, tried),
    ]
    kept: list[Advice] = []
    said: set[str] = set()
    for one in filter(None, found):
        # the same remedy is told once
        new = tuple(command for command in one.commands if command not in said)
        said |= set(new)
        kept.append(Advice(one.name, one.text, new))
    return tuple(kept) or (
        Advice("fine", say("Nothing in the numbers calls for more training. Talk to your model.")),
    )


def _still_falling(steps: Sequence[LoggedStep], tried: Tried) -> Advice | None:
    """Return the last third lies below the middle one by more than noise, and below the first: a curve that
    only comes down again from where it had climbed gains nothing by more steps. Shorter pieces would not show
    a fall: the learning rate goes to nothing at the end, and every curve with it to a level.
    """
    losses = [step.loss for step in steps if step.loss is not None and math.isfinite(step.loss)]
    third = len(losses) // 3
    if len(losses) < MIN_STEPS:
        return None
    first, middle, last = losses[: -2 * third], losses[-2 * third : -third], losses[-third:]
    if not (_fell(middle, last) and _fell(first, last)):
        return None
    text = say(
        "The training loss was still falling: {middle} in the middle third of the training, {last} in the "
        "last. More steps will likely help.",
        middle=LOSS.show(fmean(middle)),
        last=LOSS.show(fmean(last)),
    )
    return Advice("still_falling", text, (_longer(tried),))


def _fell(earlier: Sequence[float], later: Sequence[float]) -> bool:
    """Return whether the mean fell by more than two standard errors of the difference, and by more than a
    little.
    """
    noise = math.sqrt(variance(earlier) / len(earlier) + variance(later) / len(later))
    return fmean(earlier) - fmean(later) > max(2 * noise, FALLS * fmean(earlier))


def _heldout_rose(report: Report, tried: Tried) -> Advice | None:
    before, after = report.before.get("loss"), report.after.get("loss")
    if before is None or after is None or after <= before:
        return None
    text = say(
        "The loss on questions it was not trained on rose from {before} to {after}: it may have memorized "
        "its examples, or learned in too large steps. Train for fewer steps or at a lower learning rate; "
        "more data helps most.",
        before=LOSS.show(before),
        after=LOSS.show(after),
    )
    return Advice(
        "heldout_rose", text, (_again(tried, "--max-steps", max(1, tried.max_steps // 2)), _slower(tried))
    )


def _answers_worse(report: Report, tried: Tried) -> Advice | None:
    change = answers_change(report)
    if change is None or judge(*change) != "worse":
        return None
    text = say(
        "Its answers are less like the right ones than before. Read the worst cases above: if the right "
        "answers are not what you want to hear, fix the data; if they are, a lower learning rate changes "
        "less of what the model knew."
    )
    return Advice("answers_worse", text, (_slower(tried),))


def _not_nearer(report: Report, tried: Tried) -> Advice | None:
    change = answers_change(report)
    if change is None or judge(*change) != "same":
        return None
    text = say(
        "Its answers are as far from the right ones as before. Try more steps to see whether they get closer."
    )
    return Advice("not_nearer", text, (_longer(tried),))


def _stops_rarely(report: Report, tried: Tried) -> Advice | None:
    rate = report.after.get("stop_rate")
    if rate is None or rate >= STOPS:
        return None
    text = say(
        "Only {percent} % of its answers come to an end. More steps teach it where answers end; a longer "
        "window shows it more endings.",
        percent=f"{100 * rate:.0f}",
    )
    return Advice(
        "stops_rarely", text, (_longer(tried), _again(tried, "--max-seq-length", 2 * tried.max_seq_length))
    )


def _repeats(report: Report, tried: Tried) -> Advice | None:
    share = report.after.get("repetition")
    if share is None or share < REPEATS:
        return None
    text = say(
        "It repeats itself: {percent} % of its four-word sequences already occurred in the same answer. A "
        "lower learning rate often helps, and so do examples that repeat themselves less.",
        percent=f"{share:.0f}",
    )
    return Advice("repeats", text, (_slower(tried),))


def _could_be_chance(report: Report, tried: Tried) -> Advice | None:
    change = answers_change(report)
    if change is None or judge(*change) not in ("chance", "unknown"):
        return None
    text = say(
        "Whether its answers got better is unclear: it could be chance. More questions to measure on would "
        "tell: write heldout_examples = {count} into {plan} and train again; the data must have rows to "
        "spare. More steps may make the difference larger.",
        count=2 * tried.heldout_examples,
        plan=_plan(tried),
    )
    return Advice("could_be_chance", text, (_again(tried), _longer(tried)))


def _plan(tried: Tried) -> str:
    return shlex.quote(f"{tried.output_dir.rstrip('/')}/{PLAN}")


def _again(tried: Tried, flag: str = "", value: object = "") -> str:
    """Return the same run once more, with one thing changed. The earlier result is kept beside it."""
    return f"nuguna train --plan {_plan(tried)} {flag} {value}".rstrip()


def _longer(tried: Tried) -> str:
    return _again(tried, "--max-steps", 2 * tried.max_steps)


def _slower(tried: Tried) -> str:
    return _again(tried, "--learning-rate", f"{tried.learning_rate / 2:.2g}")
