"""What the user said, as choices: a wish is kept with the place where it was made, and an impossible one is
named.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

from ..errors import SettingError
from ..message import Message, say
from .plan_values import PLAN_VALUES
from .settings import Request, setting_named

T = TypeVar("T")


@dataclass(frozen=True)
class Choice(Generic[T]):
    """A value, why it was chosen, and who chose it: flag, environment, plan file, request, hardware, data,
    model, default.
    """

    value: T
    reason: Message
    source: str


class Wishes:
    """The user's wishes, and which of them were already used."""

    def __init__(self, request: Request, edited: dict[str, Any]) -> None:
        self._request, self._edited = request, edited

    def get(self, name: str) -> Choice[Any] | None:
        """Return the wish for a setting, as the user made it."""
        value = getattr(self._request, name)
        if value is None:
            return None
        source = self._request.sources.get(name, "request")
        reasons = {
            "flag": say("you asked for it on the command line"),
            "environment": say("you set {env}", env=setting_named(name).env),
            "plan file": say("it is set in the plan file"),
        }
        return Choice(value, reasons.get(source, say("you asked for it")), source)

    def quantization(self) -> Choice[str] | None:
        """Return the wish, unless it is `auto`, which is no wish."""
        wish = self.get("quantization")
        return None if wish is None or wish.value == "auto" else wish

    def edited(
        self, name: str, *, choices: tuple[Any, ...] = (), highest: int | None = None
    ) -> Choice[Any] | None:
        """Return the plan file's choice of what has no setting of its own; `choices` and `highest` narrow
        what it may be.

        A whole number that is too large is brought down, and the reason says so. Raise `SettingError` for an
        impossible value.
        """
        if name not in self._edited:
            return None
        value, defined = self._edited[name], PLAN_VALUES[name]
        allowed = replace(
            defined,
            choices=choices or defined.choices,
            highest=defined.highest if highest is None else highest,
        )
        if not allowed.allows(value):
            raise _bad_value(name, value, allowed.expects)
        if allowed.kind is int and value > allowed.highest:
            reason = say(
                "the plan file says {value}, but the maximum is {highest}",
                value=value,
                highest=allowed.highest,
            )
            return Choice(allowed.highest, reason, "plan file")
        return Choice(
            float(value) if allowed.kind is float else value, say("it is set in the plan file"), "plan file"
        )


def _bad_value(name: str, value: object, expected: Message) -> SettingError:
    return SettingError(
        say("In the plan file, {name} cannot be {value}.", name=name, value=repr(value)),
        seen=say("It must be {expected}.", expected=expected),
        fix=say("Correct the line, or delete it: then the planner decides."),
    )
