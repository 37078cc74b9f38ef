"""What is said of a plan that does not fit."""

from __future__ import annotations

from collections.abc import Sequence

from ..errors import SettingError
from ..message import Message, say
from ..text.units import format_bytes
from .fixes import Remedy
from .memory_fit import PART_NAMES
from .plan import Plan


def misfit(plan: Plan) -> SettingError | None:
    """Return the error for a plan that does not fit, with what makes it fit."""
    if plan.fits:
        return None
    name, largest = max(plan.memory.parts.items(), key=lambda part: part[1])
    return SettingError(
        say(
            "This does not fit into memory: {needed} is needed, {usable} is free.",
            needed=format_bytes(plan.memory.total_bytes),
            usable=format_bytes(plan.usable_bytes),
        ),
        seen=say(
            "The largest part is: {part}, {size}",
            part=PART_NAMES.get(name, Message(name)),
            size=format_bytes(largest),
        ),
        fix=_advice(plan.remedies),
    )


def _advice(remedies: Sequence[Remedy]) -> Message:
    if not remedies:
        return say("Close other programs, or give the container or virtual machine more memory.")
    told = [
        say("{change} needs {needed}", change=r.change, needed=format_bytes(r.needed_bytes)) for r in remedies
    ]
    advice = told[-1]
    for one in reversed(told[:-1]):
        advice = say("{one}, or {other}", one=one, other=advice)
    return say("One change is enough: {changes}", changes=advice)
