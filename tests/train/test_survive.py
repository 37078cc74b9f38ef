"""Nothing that was reported saved is lost: faults of the disk, damage, kills, requests to end, two runs at
once.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import pytest
import torch

from benchmarks.faults import Fault, Killed, State, damages, faults_of_a_save, full_disk
from nuguna.disk import durable
from nuguna.disk import run_lock as runlock
from nuguna.disk.run_folder import is_finished, is_ours, write_json
from nuguna.disk.run_lock import only_run
from nuguna.errors import EnvironmentFault, Interrupted, SettingError, Terminated
from nuguna.machine.stopping import StopNow, TerminateRequest, raised_requests, stop_requests
from nuguna.stages.train import tell_resumed
from nuguna.text.language import translator
from nuguna.train import checkpoint, manifest
from nuguna.train.checkpoint import Progress, Resumed, find_checkpoint
from nuguna.train.loop import Step
from nuguna.train.repeatable import repeatable
from nuguna.train.save_schedule import SaveSchedule
from tests.train.test_loop import RECIPE, run_loop, weights

LONG = replace(RECIPE, max_steps=24, checkpoint_every=5)  # 11 examples, 4 a step: an epoch ends within steps 3, 6, 9, …


@pytest.fixture
def quick_folder(tmp_path: Path) -> Iterator[Path]:
    """Yield a folder in memory where there is one, so that waiting for the disk costs nothing; faults there
    are as real.
    """
    import tempfile

    place = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=place if place.is_dir() else tmp_path) as folder:
        yield Path(folder)


# Resuming


def stopped_and_whole(folder: Path, model: Path, micro_batch_size: int, stop_at: int) -> bool:
    """Return whether a run that was stopped after a step goes on to the same losses, adapter and optimizer as
    one that was not.
    """
    recipe = replace(LONG, micro_batch_size=micro_batch_size)
    whole, steps = run_loop(folder / "whole", model, recipe)

    def interrupt(step: Step) -> None:
        if step.step == stop_at:
            signal.raise_signal(signal.SIGTERM)

    try:
        run_loop(folder / "cut", model, recipe, interrupt)
    except Terminated:
        resumed, rest = run_loop(folder / "cut", model, recipe)
    ends = [folder / name / "checkpoints" / "step-000024" for name in ("whole", "cut")]
    return (
        torch.equal(weights(whole), weights(resumed))
        and [step.loss for step in rest] == [step.loss for step in steps[stop_at:]]
        and all((ends[0] / file).read_bytes() == (ends[1] / file).read_bytes() for file in manifest.FILES)
    )


@pytest.mark.parametrize(("micro_batch_size", "stop_at"), [(4, 3), (2, 14)])
def test_a_run_that_goes_on_equals_one_that_never_stopped(
    micro_batch_size: int, stop_at: int, quick_folder: Path, model_folder: Callable[..., Path]
) -> None:
    assert stopped_and_whole(quick_folder, model_folder(), micro_batch_size, stop_at)


def test_where_the_place_is_another_the_result_is_nearly_the_same(quick_folder: Path, model_folder: Callable[..., Path]) -> None:
    whole, steps = run_loop(quick_folder / "whole", model_folder(), LONG)

    def interrupt(step: Step) -> None:
        if step.step == 10:
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(Interrupted):
        run_loop(quick_folder / "cut", model_folder(), LONG, interrupt)
    resumed, rest = run_loop(quick_folder / "cut", model_folder(), replace(LONG, micro_batch_size=1))
    assert [step.loss for step in rest] == pytest.approx([step.loss for step in steps[10:]], abs=1e-5)
    assert float((weights(whole) - weights(resumed)).abs().max()) < 1e-3  # AdamW magnifies rounding


def test_a_gpu_is_asked_for_the_same_bits_only_where_the_plan_says_so() -> None:
    asked = []
    for is_on, device in ((True, "cuda"), (False, "cuda"), (True, "cpu")):
        with repeatable(is_on, device):
            asked.append(torch.are_deterministic_algorithms_enabled())
        assert not torch.are_deterministic_algorithms_enabled()
    assert asked == [True, False, False] and os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"


# Disks


def test_after_any_fault_of_the_disk_the_old_or_the_new_checkpoint_is_there(quick_folder: Path) -> None:
    *wrong, num_trials = faults_of_a_save(quick_folder, ("kill", "ENOSPC", "short"))
    assert not wrong and int(num_trials) > 100


def test_the_faults_are_felt(quick_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A save that is careless is found out: old ones cleared away before the new one is there, a manifest
    without a seal.
    """
    real = checkpoint._require_room

    def clear_away(place: Path, num_bytes: int) -> None:
        for older in place.glob("step-*"):
            durable.remove_folder(older)
        real(place, num_bytes)

    monkeypatch.setattr(checkpoint, "_require_room", clear_away)
    assert faults_of_a_save(quick_folder / "a", ("ENOSPC",))[:-1]
    monkeypatch.undo()
    for place in (checkpoint, manifest):
        monkeypatch.setattr(place, "sealed", lambda facts: (json.dumps({**facts, "sha256": ""}) + "\n").encode())
    assert damages(quick_folder / "b", every=1000, num_flips=400)[:-1]


def test_everything_is_synced_before_it_gets_its_name(quick_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    names: dict[int, str] = {}
    real_open, real_sync, real_replace = os.open, os.fsync, os.replace

    def opened(path: Any, *args: Any, **kwargs: Any) -> int:
        handle = real_open(path, *args, **kwargs)
        names[handle] = Path(path).name
        return handle

    monkeypatch.setattr(os, "open", opened)

    def synced(handle: int) -> None:
        told.append(f"sync {names[handle]}")
        real_sync(handle)

    def replaced(source: Any, target: Any) -> None:
        told.append(f"rename {Path(target).name}")
        real_replace(source, target)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "replace", replaced)
    State().save(quick_folder, 7)
    draft = f".tmp-000007-{os.getpid()}"
    files = [f"sync {name}" for name in (*manifest.FILES, manifest.MANIFEST)]
    assert told == [*files, f"sync {draft}", "rename step-000007", "sync checkpoints"]


def test_damage_is_never_loaded(quick_folder: Path) -> None:
    *wrong, num_trials = damages(quick_folder, every=29, num_flips=40)
    assert not wrong and int(num_trials) > 200


def test_a_full_disk_that_is_real(tmp_path: Path) -> None:
    *wrong, num_trials = full_disk(tmp_path / "disk")
    if num_trials == "0":
        pytest.skip("no file system can be mounted here")
    assert not wrong


def test_a_training_goes_on_while_the_disk_is_full(quick_folder: Path, model_folder: Callable[..., Path]) -> None:
    whole, _ = run_loop(quick_folder / "whole", model_folder(), LONG)
    fault = Fault("full", 1)
    saved: list[int] = []
    unsaved: list[tuple[int, str]] = []

    def fill(step: Step) -> None:
        if step.step == 6:
            injected.__enter__()
        if step.step == 17:
            injected.__exit__(None, None, None)

    injected = fault.injected()
    model, _ = run_loop(
        *(quick_folder / "full", model_folder(), replace(LONG, checkpoint_every=2), fill),
        on_saved=saved.append,
        on_unsaved=lambda last, error: unsaved.append((last, str(error.seen))),
    )
    assert saved == [2, 4, 18, 20, 22, 24] and {last for last, _ in unsaved} == {4} and len(unsaved) == 6
    assert "injected" in unsaved[0][1] or "space" in unsaved[0][1].lower()
    assert torch.equal(weights(whole), weights(model))


def test_where_no_checkpoint_has_room_nothing_is_begun(quick_folder: Path) -> None:
    free = shutil.disk_usage(quick_folder).free
    with pytest.raises(EnvironmentFault) as caught:
        checkpoint.try_room(quick_folder, free + 2**30)
    assert " needed" in str(caught.value.seen) and "OUTPUT_DIR" in str(caught.value.fix)
    checkpoint.try_room(quick_folder, 1000)
    with Fault("EACCES", 1).injected(), pytest.raises(EnvironmentFault):
        checkpoint.try_room(quick_folder, 1000)
    assert not list(quick_folder.iterdir())


def test_a_kill_while_a_finished_run_is_cleared_up_leaves_a_run_folder(quick_folder: Path) -> None:
    at = 0
    while True:
        at += 1
        folder = quick_folder / str(at)
        State().save(folder, 1)
        write_json(folder / "report.json", {"status": "succeeded"})
        (folder / "plan.toml").touch()
        fault = Fault("kill", at)
        with fault.injected(), suppress(Killed):
            checkpoint.drop_checkpoints(folder)
        assert is_ours(folder) and is_finished(folder)
        if not fault.has_struck:
            break
    assert at > 5 and not (folder / "checkpoints").exists()


def test_it_is_told_what_is_not_as_it_was(quick_folder: Path) -> None:
    now = {"torch": "2.13", "threads": "2", "at_once": "4", "gone": "1"}
    with patch("nuguna.stages.train.this_place", lambda *given: {"torch": "2.13", "threads": "4", "at_once": "1"}):
        told: list[Any] = []
        stand_in: Any = SimpleNamespace(device=SimpleNamespace(value="cpu"), micro_batch_size=SimpleNamespace(value=1))
        tell_resumed(Resumed(Progress(3, 30, 1.0), now), stand_in, told.append)
    notes = [translator("ko")(note.message) for note in told]
    assert len(notes) == 3 and "(2 → 4)" in notes[1] and "(4 → 1)" in notes[2] and not re.search("[a-z]{3}", "".join(notes[1:]))


def test_before_a_save_it_is_looked_whether_there_is_room(quick_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    State().save(quick_folder, 1)
    monkeypatch.setattr(shutil, "disk_usage", lambda place: SimpleNamespace(free=1000))
    with pytest.raises(EnvironmentFault) as caught:
        State().save(quick_folder, 2)
    assert caught.value.seen and "필요" in translator("ko")(caught.value.seen)
    assert [path.name for path in (quick_folder / "checkpoints").iterdir()] == ["step-000001"]


def test_a_file_is_the_old_or_the_new_one(quick_folder: Path) -> None:
    for kind in ("kill", "ENOSPC", "short"):
        for at in range(1, 12):
            file = quick_folder / "file"
            file.write_bytes(b"old")
            with Fault(kind, at).injected(), suppress(OSError, Killed):
                durable.write_over(file, b"new content")
            assert file.read_bytes() in (b"old", b"new content")


# When it is saved


def test_saving_takes_no_more_than_its_share_of_the_time() -> None:
    now = [0.0]
    kept: list[float] = []

    def write() -> None:
        now[0] += 1.0

    keeper = SaveSchedule(10, 0, write, kept.append, lambda last, error: None, clock=lambda: now[0])
    for step in range(1, 401):
        now[0] += 0.2
        if keeper.is_due(step):
            keeper.save(step)
    assert kept[0] == 10 and all(b - a >= 250 for a, b in zip(kept, kept[1:], strict=False))  # 1 s in 50
    slow = SaveSchedule(100, 0, write, kept.append, lambda last, error: None, clock=lambda: now[0])
    now[0] += 301
    assert slow.is_due(1)  # however few steps: no more than five minutes are lost
    assert not slow.is_due(0)


# Requests to end


def test_a_request_drops_only_what_may_be_dropped() -> None:
    with stop_requests() as stop:
        signal.raise_signal(signal.SIGTERM)
        assert stop.number == signal.SIGTERM  # remembered: no exception came
        with pytest.raises(StopNow), stop.droppable():
            raise AssertionError("never begun")
    with pytest.raises(TerminateRequest), raised_requests():
        signal.raise_signal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt), raised_requests():
        signal.raise_signal(signal.SIGINT)


def test_a_second_request_ends_the_process_at_once() -> None:
    code = (
        "import os, signal\n"
        "from nuguna.machine.stopping import stop_requests\n"
        "with stop_requests():\n"
        "    os.kill(os.getpid(), signal.SIGINT)\n"
        "    print('first', flush=True)\n"
        "    os.kill(os.getpid(), signal.SIGINT)\n"
        "    print('second', flush=True)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout == "first\n" and done.returncode == -signal.SIGINT


# Two runs


def test_a_second_run_in_a_folder_is_refused_and_a_dead_one_is_not_in_the_way(tmp_path: Path) -> None:
    folder = tmp_path / "results"
    code = (
        "import sys, time\nfrom pathlib import Path\nfrom nuguna.disk.run_lock import only_run\n"
        "with only_run(Path(sys.argv[1])):\n    print('in', flush=True)\n    time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(folder)], stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None and other.stdout.readline() == "in\n"
        with pytest.raises(SettingError) as caught, only_run(folder):
            raise AssertionError("two are in")
        assert str(other.pid) in str(caught.value.seen) and "20" in str(caught.value.seen)
        other.kill()
    with only_run(folder) as dead:
        assert dead["pid"] == other.pid
    with only_run(folder) as dead:
        assert dead == {}
    assert not list(folder.iterdir())


def test_without_locks_the_note_of_a_living_process_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Without:
        def __init__(self, path: Path) -> None:
            pass

        def acquire(self, timeout: int) -> None:
            raise NotImplementedError

        def release(self) -> None:
            pass

    monkeypatch.setattr(runlock, "FileLock", Without)
    with only_run(tmp_path), pytest.raises(SettingError), only_run(tmp_path):
        raise AssertionError("two are in")


# Kills


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_killed_at_any_moment_a_run_ends_as_if_it_had_not_been(tmp_path: Path) -> None:
    root = Path(__file__).parents[2]
    found = tmp_path / "found.json"
    command = [sys.executable, "-m", "benchmarks.survive", "--only", "kills", "--trials", "3", "--json", str(found)]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (row,) = json.loads(found.read_text())["rows"]
    assert row["num_trials"] >= 3 and row["num_failed"] == 0


def test_a_checkpoint_that_is_found_is_the_newest(quick_folder: Path) -> None:
    from benchmarks.faults import MARK

    for step in (999_999, 1_000_000):  # more digits than the name has by itself
        State().save(quick_folder, step)
    assert find_checkpoint(quick_folder, MARK) == quick_folder / "checkpoints" / "step-1000000"
