"""What can go wrong, as a tree.

NugunaError
├── UserError               the user's input is wrong; nothing was written (exit 2)
│   ├── SettingError        a flag, environment variable or plan file says something impossible
│   ├── DataError           the dataset cannot be read or holds nothing to learn from
│   └── ModelError          the base model or the run folder is not there, or cannot be used
├── RunError                the run itself broke (exit 1)
│   ├── EnvironmentFault    the machine or the installation is not fit (wrong torch build, full disk)
│   ├── UnsoundError        what would be trained is not what is meant; found out before the training
│   ├── DivergedError       loss or gradients stopped being numbers
│   └── OutOfMemoryError    even the smallest step does not fit
└── Interrupted             Ctrl-C (exit 130)
    └── Terminated          SIGTERM (exit 143)

Every error carries three messages: what happened, what was seen, what to do next.
"""

from __future__ import annotations

from .message import Message


def first_line(error: BaseException) -> str:
    """Return the first line of what an error of a library says; the name of its kind where it says
    nothing.
    """
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


class NugunaError(Exception):
    """Base of all our errors: what happened, what was seen (optional), and what to type next."""

    exit_code = 1

    def __init__(self, what: Message, *, seen: Message | None = None, fix: Message) -> None:
        self.what, self.seen, self.fix = what, seen, fix
        super().__init__(" ".join(str(part) for part in (what, seen, fix) if part is not None))


class UserError(NugunaError):
    """The input is wrong. Nothing has been written."""

    exit_code = 2


class SettingError(UserError):
    """A setting (flag, environment variable, plan file) cannot be used."""


class DataError(UserError):
    """The dataset cannot be read, or there is nothing in it to learn from."""


class ModelError(UserError):
    """The base model or the run folder is missing or cannot be used."""


class RunError(NugunaError):
    """The run broke although the input was fine."""


class EnvironmentFault(RunError):
    """The machine or the installation cannot do what was asked."""


class UnsoundError(RunError):
    """Training would go wrong without a word; `check` names what was found out."""

    def __init__(self, check: str, what: Message, *, seen: Message | None = None, fix: Message) -> None:
        self.check = check
        super().__init__(what, seen=seen, fix=fix)


class DivergedError(RunError):
    """Loss or gradients stopped being finite numbers."""


class OutOfMemoryError(RunError):
    """Not even the smallest step fits into memory."""


class Interrupted(NugunaError):
    """The user pressed Ctrl-C; what was reached is saved."""

    exit_code = 130


class Terminated(Interrupted):
    """Another program or the system asked for the end (SIGTERM); what was reached is saved."""

    exit_code = 143
