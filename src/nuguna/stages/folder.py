"""A run that did not end: the same command goes on with it, with what was decided then, and nothing of it is
overwritten.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from ..data.dataset import Dataset
from ..disk.run_folder import is_finished, is_ours, move_aside
from ..disk.run_lock import only_run
from ..errors import SettingError
from ..message import Message, say
from ..plan.plan import Plan
from ..train.checkpoint import find_checkpoint, try_room
from .decide import plan_hash_of
from .events import Note, Tell
from .read import write_bad_rows


@contextmanager
def prepared_folder(plan: Plan, dataset: Dataset, tell: Tell) -> Iterator[tuple[Path, str]]:
    """While the block runs, the run folder is this run's alone: an unfinished run of the same plan goes on,
    any other is moved aside.

    Gives the folder and the mark of this plan's checkpoints. Raises `SettingError` for a folder with other
    files or in use, and `EnvironmentFault` for one that has no room for a checkpoint.
    """
    folder = Path(plan.output_dir.value).expanduser()
    if not is_ours(folder):
        raise SettingError(
            say(
                "{folder} contains files that are not a training result, so nothing is written there.",
                folder=folder,
            ),
            fix=say("Choose another folder: OUTPUT_DIR=./my_model ./run.sh"),
        )
    plan_hash = plan_hash_of(plan, dataset)
    with ExitStack() as held:
        dead = held.enter_context(only_run(folder))
        if dead:
            tell(Note(say("The run of {started} (process {pid}) ended in the middle of its work.", **dead)))
        if not is_finished(folder) and find_checkpoint(
            folder, plan_hash, lambda place, why: _tell_damaged(place, why, tell)
        ):
            tell(
                Note(
                    say(
                        "{folder} contains an unfinished run of the same plan: it continues there.",
                        folder=folder,
                    )
                )
            )
        else:
            held.close()  # Windows renames no folder in which a file is open
            if moved := move_aside(folder):
                tell(
                    Note(
                        say(
                            "The earlier result was kept: {folder} is now {moved}.",
                            folder=folder,
                            moved=moved,
                        )
                    )
                )
            held.enter_context(only_run(folder))
        # what weights (4 bytes a number) and the optimizer's two moments take
        try_room(folder, round(1.5 * plan.memory.parts["optimizer"]))
        write_bad_rows(folder, (*dataset.bad_rows, *dataset.heldout_bad_rows))
        yield folder, plan_hash


def _tell_damaged(place: Path, why: Message, tell: Tell) -> None:
    tell(
        Note(
            say(
                "A checkpoint is damaged ({why}) and is not used; it is kept as {place}.",
                why=why,
                place=place,
            )
        )
    )
