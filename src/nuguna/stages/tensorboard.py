"""Event files for TensorBoard, for those who have it installed: what each step was and what was measured,
while a run works.

Nothing is done and nothing said where the package is missing, and nothing that goes wrong here stops a run.
"""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from ..disk.run_folder import TENSORBOARD
from ..errors import first_line
from ..message import say
from ..train.loop import Step
from .events import Event, Note, Scored, Stepped, Tell

FORMAT = "brain.Event:2"  # the version of the format, as TensorBoard writes it at the head of a file
# step, values by name, whether a session begins with this step
Write = Callable[[int, Mapping[str, float], bool], None]


def with_tensorboard(tell: Tell, folder: Path, num_steps: int) -> Tell:
    """`tell` for a run of `num_steps` steps into `folder`; where TensorBoard is installed, what is told is
    kept for it too.
    """
    return _Recorder(tell, folder / TENSORBOARD, num_steps) if _is_installed() else tell


def _is_installed() -> bool:
    """Return whether there is such a package. A folder of event files in the working directory that bears the
    name is none.
    """
    found = importlib.util.find_spec("tensorboard")
    return found is not None and found.origin is not None


class _Recorder:
    """Passes events on and writes what they hold; after the first failure, said once, it only passes them
    on.
    """

    def __init__(self, tell: Tell, folder: Path, num_steps: int) -> None:
        self._tell, self._folder, self._num_steps = tell, folder, num_steps
        self._write: Write | None = None
        self._failed = False
        self._in_session = False

    def __call__(self, event: Event) -> None:
        self._tell(event)
        if self._failed or not isinstance(event, Stepped | Scored):
            return
        try:
            self._record(event)
        except Exception as error:  # noqa: BLE001 - a broken installation fails in many ways, and none may stop a run
            self._failed = True
            reason = first_line(error)
            self._tell(
                Note(
                    say(
                        "TensorBoard files cannot be written, so the run continues without them: {reason}",
                        reason=reason,
                    )
                )
            )

    def _record(self, event: Stepped | Scored) -> None:
        self._write = self._write or event_writer(self._folder)
        if isinstance(event, Stepped):
            self._write(event.step.step, _values(event.step), not self._in_session)
            self._in_session = True
            return
        for step, scores in ((0, event.scores.before), (self._num_steps, event.scores.after)):
            self._write(step, {f"heldout/{name}": score.value for name, score in scores.items()}, False)


def _values(step: Step) -> dict[str, float]:
    """Return a step as curves, under its names in metrics.jsonl."""
    values = {
        "loss": step.loss,
        "learning_rate": step.learning_rate,
        "tokens_per_second": step.tokens_per_second,
        "memory_bytes": step.memory_bytes,
    }
    return {f"train/{name}": value for name, value in values.items() if value is not None}


def event_writer(folder: Path) -> Write:
    """Return a function that appends to a new event file in `folder`. Raises whatever an installation or a
    disk can raise.

    A file is opened for each step, and written before the call returns. The writers that most programs take
    (SummaryWriter of torch and of tensorboardX) leave this to a thread: on a full disk the one of torch
    prints a traceback, and the one of tensorboardX ends while its queue fills, which stops the training for
    good. The name holds no host name, as theirs does: run folders are passed on.
    """
    from tensorboard.compat.proto.event_pb2 import Event, SessionLog
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.summary.writer.record_writer import RecordWriter

    folder.mkdir(exist_ok=True)
    path = folder / f"events.out.tfevents.{int(time.time()):010d}.nuguna"
    head = [Event(wall_time=time.time(), file_version=FORMAT)]

    def write(step: int, values: Mapping[str, float], begins: bool) -> None:
        events = [*head]
        if begins:  # what an interrupted session wrote from here on is not shown: these steps are done again
            events.append(
                Event(wall_time=time.time(), step=step, session_log=SessionLog(status=SessionLog.START))
            )
        found = [Summary.Value(tag=name, simple_value=value) for name, value in values.items()]
        events.append(Event(wall_time=time.time(), step=step, summary=Summary(value=found)))
        with open(path, "ab") as file:
            for event in events:
                RecordWriter(file).write(event.SerializeToString())
        head.clear()

    return write
