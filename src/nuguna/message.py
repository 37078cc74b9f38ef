"""Sentences for people, kept apart from their language.

A stage never knows the user's language. It returns a `Message`: an English template and its values. `ui` translates the
template and fills the values in; `str(message)` is the English sentence, which is also what `--json` carries.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Message:
    """An English sentence with named places, and what stands in them (values may be messages themselves)."""

    template: str
    values: Mapping[str, object] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.template.format(**self.values) if self.values else self.template


def say(template: str, /, **values: object) -> Message:
    """Make a `Message`. The template must be a literal: the translation catalogue is extracted from these calls."""
    return Message(template, values)
