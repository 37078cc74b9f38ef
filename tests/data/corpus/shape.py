"""What the modules of shapes hand over."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .case import Said


@dataclass(frozen=True)
class Shape:
    """Rows, what their shape is called, and the conversation that the first of them is."""

    name: str
    rows: Sequence[dict[str, Any]]
    shown: str
    first: Said
    kind: str = "flat"  # how many formats it is written in
    formats: Sequence[str] = ()
    num_unwanted: int = 0
    more: Mapping[str, Any] = field(default_factory=dict)  # further facts
