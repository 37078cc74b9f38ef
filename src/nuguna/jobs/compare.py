"""Several finished runs beside each other, from what their folders say: read, compared, and written as a
page.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from ..disk.run_folder import COMPARISON_PAGE, METRICS, PLAN, REPORT, read_json, write_text
from ..errors import EnvironmentFault, ModelError, SettingError
from ..measure.bootstrap import Score
from ..measure.paired import EachQuestion
from ..message import say
from ..plan.plan_file import read_plan
from ..report.outcome import Sample
from ..report.ranking import Comparison, Run
from ..report.runs_page import MADE_BY, render_comparison
from ..text.language import Translate
from ..train.step_log import LoggedStep, StepLog

_HEAD_CHARS = 2000  # of a page; its maker is named within them


def compare_runs(folders: Sequence[Path]) -> Comparison:
    """Read the folders. Raises `SettingError` for fewer than two, `ModelError` for one that holds no finished
    run.
    """
    if len(folders) < 2:
        raise SettingError(
            say("Comparing needs at least two runs."),
            fix=say("Give their folders: nuguna compare results.1 results"),
        )
    return Comparison(tuple(map(_run, folders)))


def write_comparison(found: Comparison, wish: Path | None, translate: Translate, *, lang: str) -> Path:
    """Write the page to `wish`, or as comparison.html into the current folder. Returns where it is.

    An earlier comparison is replaced. Raises `SettingError` for any other file in that place: it belongs to
    somebody.
    """
    path = wish or Path(COMPARISON_PAGE)
    other = say("Choose another file: nuguna compare RUN RUN --page FILE.html")
    if path.exists() and not _is_ours(path):
        raise SettingError(
            say("{path} was not made by nuguna compare, so it is not overwritten.", path=path), fix=other
        )
    try:
        write_text(path, render_comparison(found, translate, lang=lang))
    except EnvironmentFault as error:
        raise EnvironmentFault(error.what, seen=error.seen, fix=other) from error
    return path


def _is_ours(path: Path) -> bool:
    try:
        with path.open(encoding="utf-8") as file:
            return MADE_BY in file.read(_HEAD_CHARS)
    except (OSError, ValueError):
        return False


def _run(folder: Path) -> Run:
    report = read_json(folder / REPORT)
    scores = report.get("scores") if isinstance(report, dict) else None
    if not isinstance(report, dict) or not isinstance(scores, dict) or not (folder / PLAN).is_file():
        raise ModelError(
            say("{folder} contains no finished run that can be compared.", folder=folder),
            seen=None if isinstance(report, dict) else say("There is no {name} in it.", name=REPORT),
            fix=say("Measure it again, or retrain it: nuguna evaluate {folder}", folder=folder),
        )
    before, after = (
        {name: Score(**score) for name, score in scores[side].items()} for side in ("before", "after")
    )
    return Run(
        name=str(folder),
        status=report["status"],
        settings=read_plan(folder / PLAN),
        before=before,
        after=after,
        tokenization=scores["tokenization"],
        training=report["train"],
        checks=tuple((check["name"], check["passed"]) for check in report.get("checks", [])),
        each=_each(report),
        samples=tuple(_sample(sample) for sample in report.get("samples", [])),
        steps=_steps(folder),
    )


def _each(report: Mapping[str, Any]) -> EachQuestion | None:
    """Return what each question adds; None in a report of an earlier version."""
    try:
        return EachQuestion.from_json(report["each_question"])
    except (KeyError, TypeError, ValueError):
        return None


def _sample(document: Mapping[str, Any]) -> Sample:
    known = {item.name for item in fields(Sample)}
    return Sample(**{name: value for name, value in document.items() if name in known})


def _steps(folder: Path) -> tuple[LoggedStep, ...]:
    """Return the steps as they were logged; none where the log is gone or damaged, and the page says that
    there are none.
    """
    try:
        return tuple(StepLog(folder / METRICS).steps())
    except (OSError, ValueError, KeyError):
        return ()
