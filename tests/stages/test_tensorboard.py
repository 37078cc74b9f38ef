"""TensorBoard's files: what is in them, that their absence is silent, and that no failure there is a run's
failure.
"""

from __future__ import annotations

import importlib.util
import json
import sys
import time
import types
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

import nuguna.stages.tensorboard as board
from nuguna import fine_tune
from nuguna.measure.bootstrap import Score
from nuguna.measure.compared import Compared
from nuguna.stages.events import Event, Note, Scored, Stepped, Tell
from nuguna.train.loop import Step
from tests.program.test_run import request

NAMES = ("loss", "learning_rate", "tokens_per_second", "memory_bytes")
FULL = OSError(28, "No space left on device")
FAULTS = [FULL, PermissionError(13, "Permission denied"), TypeError("\n"), AttributeError("_pb2")]


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A package by that name is found, whatever it can do."""
    package = types.ModuleType("tensorboard")
    package.__spec__ = importlib.util.spec_from_loader("tensorboard", loader=None, origin="here")
    monkeypatch.setitem(sys.modules, "tensorboard", package)


def notes_about_it(told: list[Event]) -> list[str]:
    return [str(event.message) for event in told if isinstance(event, Note) and "TensorBoard" in str(event.message)]


def stepped(step: int, loss: float | None = 1.0) -> Stepped:
    numbers = {"learning_rate": 0.1, "tokens": 8, "tokens_per_second": 9.0, "elapsed_seconds": 1.0, "memory_bytes": 7}
    return Stepped(Step(step=step, max_steps=6, loss=loss, **numbers))  # type: ignore[arg-type]


def measured(before: float, after: float) -> Scored:
    return Scored(Compared({"loss": Score(before)}, {"loss": Score(after)}, {}, "words", {}), None, [])


def tell_steps(tell: Tell) -> None:
    for step in (1, 2, 3):
        tell(stepped(step))
    tell(measured(2.0, 1.0))


@pytest.mark.usefixtures("installed")
def test_every_step_is_written_while_the_run_works_and_the_held_out_numbers_at_its_ends(
    model_folder: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[tuple[int, Mapping[str, float], bool]] = []
    seen: list[int] = []  # how much was written when the next step was told
    monkeypatch.setattr(board, "event_writer", lambda folder: lambda *given: written.append(given))
    asked = request(tmp_path, model_folder())
    report = fine_tune(asked, tell=lambda event: seen.append(len(written)) if isinstance(event, Stepped) else None)
    lines = [json.loads(line) for line in (tmp_path / "results" / "metrics.jsonl").read_text().splitlines()]
    assert [(step, values) for step, values, _ in written[:6]] == [
        (line["step"], {f"train/{name}": line[name] for name in NAMES}) for line in lines
    ]
    assert [begins for *_, begins in written] == [True] + 7 * [False]
    assert seen == list(range(6))
    assert [step for step, *_ in written[6:]] == [0, 6]
    for (_, values, _), metrics in zip(written[6:], (report.before, report.after), strict=True):
        assert values == pytest.approx({f"heldout/{name}": value for name, value in metrics.items()}, abs=1e-6)
        assert "heldout/loss" in values


@pytest.mark.usefixtures("installed")
def test_a_skipped_step_has_no_loss(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[Mapping[str, float]] = []
    monkeypatch.setattr(board, "event_writer", lambda folder: lambda step, values, begins: written.append(values))
    board.with_tensorboard(lambda event: None, tmp_path, 6)(stepped(1, loss=None))
    assert set(written[0]) == {f"train/{name}" for name in NAMES} - {"train/loss"}


@pytest.mark.usefixtures("installed")
def test_a_run_whose_writer_fails_at_every_call_succeeds(
    model_folder: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*given: Any) -> None:
        raise FULL

    monkeypatch.setattr(board, "event_writer", lambda folder: fail)
    told: list[Event] = []
    report = fine_tune(request(tmp_path, model_folder()), tell=told.append)
    assert all(check.passed for check in report.checks if check.name != "answers_stop")  # six steps teach no end
    assert len(notes_about_it(told)) == 1
    assert [event.step.step for event in told if isinstance(event, Stepped)] == [1, 2, 3, 4, 5, 6]


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: type(fault).__name__)
@pytest.mark.parametrize("at", [1, 2], ids=["at once", "later"])
def test_any_failure_is_said_once_with_its_reason_and_not_tried_again(
    at: int, fault: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[int] = []

    def fail(step: int, *rest: Any) -> None:
        calls.append(step)
        if step == at:
            raise fault

    monkeypatch.setattr(board, "event_writer", lambda folder: fail)
    told: list[Event] = []
    tell_steps(board.with_tensorboard(told.append, tmp_path, 6))
    assert calls == list(range(1, at + 1))
    (note,) = notes_about_it(told)
    assert note.rpartition(": ")[2].strip()
    assert len(told) == 5


def test_a_broken_installation_is_said_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "broken" / "tensorboard"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text('raise TypeError("Descriptors cannot be created.\\nReasons:")')
    for name in [name for name in sys.modules if name.partition(".")[0] == "tensorboard"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.syspath_prepend(tmp_path / "broken")
    told: list[Event] = []
    tell_steps(board.with_tensorboard(told.append, tmp_path, 6))
    assert notes_about_it(told)[0].endswith(": Descriptors cannot be created.") and len(notes_about_it(told)) == 1
    assert not (tmp_path / "tensorboard").exists()


def test_where_it_is_not_installed_nothing_happens_and_nothing_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    told: list[Event] = []
    tell_steps(board.with_tensorboard(told.append, tmp_path / "results", 6))
    assert not notes_about_it(told) and len(told) == 4
    assert not (tmp_path / "results").exists()


def test_a_folder_of_that_name_where_one_works_is_no_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tensorboard").mkdir()
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    monkeypatch.delitem(sys.modules, "tensorboard", raising=False)
    assert importlib.util.find_spec("tensorboard") is not None
    told: list[Event] = []
    tell_steps(board.with_tensorboard(told.append, tmp_path / "results", 6))
    assert not notes_about_it(told)


# ---- the real package


def curves(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """Return what TensorBoard itself reads from a folder."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = EventAccumulator(str(folder))
    found.Reload()
    return {name: [(event.step, event.value) for event in found.Scalars(name)] for name in found.Tags()["scalars"]}


def test_tensorboard_reads_the_run_and_a_second_run_moves_it_aside(model_folder: Callable[..., Path], tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    report = fine_tune(request(tmp_path, model_folder()))
    found = curves(tmp_path / "results" / "tensorboard")
    lines = [json.loads(line) for line in (tmp_path / "results" / "metrics.jsonl").read_text().splitlines()]
    for name in NAMES:
        expected: list[Any] = [(line["step"], pytest.approx(line[name])) for line in lines]
        assert found[f"train/{name}"] == expected
    expected = [(0, pytest.approx(report.before["loss"])), (6, pytest.approx(report.after["loss"]))]
    assert found["heldout/loss"] == expected
    fine_tune(request(tmp_path, model_folder(), max_steps=2))
    assert curves(tmp_path / "results.1" / "tensorboard") == found
    assert len(curves(tmp_path / "results" / "tensorboard")["train/loss"]) == 2


@pytest.mark.parametrize("seconds", [0.0, 60.0])
def test_after_an_interruption_the_curve_goes_on(seconds: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("tensorboard")
    now = [2e9]
    monkeypatch.setattr(time, "time", lambda: now[0])
    first = board.with_tensorboard(lambda event: None, tmp_path, 6)
    for step in (1, 2, 3, 4):
        first(stepped(step, loss=9.0))
    now[0] += seconds
    second = board.with_tensorboard(lambda event: None, tmp_path, 6)
    for step in (3, 4, 5, 6):  # steps 3 and 4 were after the last checkpoint
        second(stepped(step, loss=1.0))
    second(measured(3.0, 1.0))
    found = curves(tmp_path / "tensorboard")
    assert found["train/loss"] == [(1, 9.0), (2, 9.0), (3, 1.0), (4, 1.0), (5, 1.0), (6, 1.0)]
    assert found["heldout/loss"] == [(0, 3.0), (6, 1.0)]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no disk that is always full")
def test_a_full_disk_is_said_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("tensorboard")
    monkeypatch.setattr(time, "time", lambda: 2e9)
    (tmp_path / "tensorboard").mkdir()
    (tmp_path / "tensorboard" / "events.out.tfevents.2000000000.nuguna").symlink_to("/dev/full")
    told: list[Event] = []
    tell_steps(board.with_tensorboard(told.append, tmp_path, 6))
    (note,) = notes_about_it(told)
    assert "No space left on device" in note and len(told) == 5
