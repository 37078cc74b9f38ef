"""What the user said, as choices: a wish is kept with the place where it was made, and an impossible one is named."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from ..errors import SettingError
from ..message import Message, say
from .settings import SETTINGS, Request

T = TypeVar("T")


@dataclass(frozen=True)
class Choice(Generic[T]):
    """A value, why it was chosen, and who chose it: flag, environment, plan file, request, hardware, data, model, default."""

    value: T
    reason: Message
    source: str


class Wishes:
    """The user's wishes, and which of them were already used."""

    def __init__(self, request: Request, edited: dict[str, Any]) -> None:
        self._request, self._edited = request, edited

    def get(self, name: str) -> Choice[Any] | None:
        """The wish for a setting, as the user made it."""
        value = getattr(self._request, name)
        if value is None:
            return None
        source = self._request.sources.get(name, "request")
        reasons = {
            "flag": say("you asked for it on the command line"),
            "environment": say("you set {env}", env=next(s.env for s in SETTINGS if s.name == name)),
            "plan file": say("it stands in the plan file"),
        }
        return Choice(value, reasons.get(source, say("you asked for it")), source)

    def quantization(self) -> Choice[str] | None:
        """The wish, unless it is `auto`, which is no wish."""
        wish = self.get("quantization")
        return None if wish is None or wish.value == "auto" else wish

    def edited(self, name: str, allowed: Sequence[Any]) -> Choice[Any] | None:
        """A value from the plan file that must be one of `allowed`."""
        if name not in self._edited:
            return None
        value = self._edited[name]
        if not any(value == choice and type(value) is type(choice) for choice in allowed):
            raise _bad_value(name, value, say("one of {choices}", choices=", ".join(str(c).lower() for c in allowed)))
        return Choice(value, say("it stands in the plan file"), "plan file")

    def edited_whole(self, name: str, highest: int) -> Choice[int] | None:
        """A whole number from the plan file, from 1 to `highest`; a larger one is brought down, and the reason says so."""
        if name not in self._edited:
            return None
        value = self._edited[name]
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise _bad_value(name, value, say("a whole number from 1 up"))
        if value > highest:
            return Choice(
                highest, say("the plan file says {value}, but {highest} is the most", value=value, highest=highest), "plan file"
            )
        return Choice(value, say("it stands in the plan file"), "plan file")

    def edited_number(self, name: str, lowest: float, highest: float) -> Choice[float] | None:
        """A number from the plan file between two bounds."""
        if name not in self._edited:
            return None
        value = self._edited[name]
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not lowest <= value <= highest:
            raise _bad_value(name, value, say("a number from {lowest} to {highest}", lowest=lowest, highest=highest))
        return Choice(float(value), say("it stands in the plan file"), "plan file")


def _bad_value(name: str, value: object, expected: Message) -> SettingError:
    return SettingError(
        say("In the plan file, {name} cannot be {value}.", name=name, value=repr(value)),
        seen=say("It must be {expected}.", expected=expected),
        fix=say("Correct the line, or delete it: then the planner decides."),
    )
