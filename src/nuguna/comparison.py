"""Several finished runs beside each other, from what their folders say: settings that differ, scores, cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .errors import ModelError, SettingError
from .message import Message, say
from .metrics.bootstrap import Score
from .planfile import read_plan
from .runfolder import PLAN, REPORT, read_json

# These change no result, or are another view of the same: nobody compares runs by them.
_UNIMPORTANT = frozenset({"output_dir", "micro_batch_size", "checkpoint_every", "gradient_checkpointing"})
_QUESTIONS = ("data", "data_columns", "seed", "heldout_examples", "max_seq_length")  # what decides which questions are measured


@dataclass(frozen=True)
class Run:
    """What one folder says."""

    name: str
    status: str
    settings: Mapping[str, Any]
    before: Mapping[str, Score]
    after: Mapping[str, Score]
    tokenization: str
    training: Mapping[str, float]  # steps, tokens, seconds, tokens_per_second, peak_memory_bytes


@dataclass(frozen=True)
class Comparison:
    """Runs in the order in which they were named."""

    runs: tuple[Run, ...]

    @property
    def differing(self) -> dict[str, tuple[Any, ...]]:
        """Settings that are not the same in all runs."""
        names = dict.fromkeys(name for run in self.runs for name in run.settings if name not in _UNIMPORTANT)
        values = {name: tuple(run.settings.get(name) for run in self.runs) for name in names}
        return {name: row for name, row in values.items() if any(value != row[0] for value in row)}

    @property
    def warnings(self) -> list[Message]:
        """Why numbers may not be comparable."""
        found = []
        if any(name in self.differing for name in _QUESTIONS):
            found.append(say("These runs may have been measured on different questions: compare their numbers with care."))
        if len({run.tokenization for run in self.runs}) > 1:
            found.append(say("These runs take texts apart in different ways: ROUGE and BLEU cannot be compared."))
        return found

    def scores(self) -> dict[str, tuple[Score | None, ...]]:
        """metric → its value after training in each run; None where it was not measured."""
        names = dict.fromkeys(name for run in self.runs for name in run.after)
        return {name: tuple(run.after.get(name) for run in self.runs) for name in names}

    def best(self, name: str, *, lower_is_better: bool) -> int | None:
        """The run that is better than every other by more than chance: its interval touches none of theirs. None if none is."""
        bounds = [_bounds(score, lower_is_better) for score in self.scores()[name]]
        if any(bound is None for bound in bounds):
            return None
        known = [bound for bound in bounds if bound is not None]
        first = max(range(len(known)), key=lambda i: known[i][0])
        return first if all(known[first][0] > high for i, (_, high) in enumerate(known) if i != first) else None

    def to_json(self) -> dict[str, Any]:
        """The document of `nuguna compare --json`."""
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
        }


def _bounds(score: Score | None, lower_is_better: bool) -> tuple[float, float] | None:
    """(low, high) of a score on a scale where more is better."""
    if score is None or score.low is None or score.high is None:
        return None
    return (-score.high, -score.low) if lower_is_better else (score.low, score.high)


def compare_runs(folders: Sequence[Path]) -> Comparison:
    """Read the folders. Raises `SettingError` for fewer than two, `ModelError` for one that holds no finished run."""
    if len(folders) < 2:
        raise SettingError(
            say("Comparing needs at least two runs."), fix=say("Name their folders: nuguna compare results.1 results")
        )
    return Comparison(tuple(map(_run, folders)))


def _run(folder: Path) -> Run:
    report = read_json(folder / REPORT)
    scores = report.get("scores") if isinstance(report, dict) else None
    if not isinstance(report, dict) or not isinstance(scores, dict) or not (folder / PLAN).is_file():
        raise ModelError(
            say("{folder} holds no finished run that can be compared.", folder=folder),
            seen=None if isinstance(report, dict) else say("There is no {name} in it.", name=REPORT),
            fix=say("Measure it anew, or train it again: nuguna evaluate {folder}", folder=folder),
        )
    before, after = ({name: Score(**score) for name, score in scores[side].items()} for side in ("before", "after"))
    plan = read_plan(folder / PLAN)
    return Run(str(folder), report["status"], plan, before, after, scores["tokenization"], report["train"])
