"""Sentences for people, kept apart from their language.

A stage never knows the user's language. It returns a `Message`: an English template and its values. `ui`
translates the template and fills the values in; `str(message)` is the English sentence, which is also what
`--json` carries.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Message:
    """An English sentence with named places, and what stands in them (values may be messages themselves)."""

    template: str
    values: Mapping[str, object] = field(default_factory=dict)

    def to_json(self) -> list[Any]:
        """Template and values, messages within it too, as `from_json` reads them."""
        values = {k: v.to_json() if isinstance(v, Message) else [str(v)] for k, v in self.values.items()}
        return [self.template, values]

    @classmethod
    def from_json(cls, document: list[Any]) -> Message:
        """Return the message that `to_json` made this of."""
        template, values = document
        return cls(template, {k: cls.from_json(v) if len(v) == 2 else v[0] for k, v in values.items()})

    def __str__(self) -> str:
        return self.template.format(**self.values) if self.values else self.template


def say(template: str, /, **values: object) -> Message:
    """Make a `Message`. The template must be a literal: the translation catalogue is extracted from these
    calls.
    """
    return Message(template, values)
