"""Events, plans and errors as sentences and tables, independent of whether a terminal, a pipe or a log shows
them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..errors import NugunaError
from ..machine.device_profile import DEVICE_PROFILES
from ..machine.hardware import Hardware
from ..message import Message, say
from ..plan.plan import Choice, Plan
from ..plan.plan_file import SOURCES
from ..plan.plan_values import PLAN_VALUES
from ..text.language import Translate
from ..text.units import format_bytes, format_seconds

if TYPE_CHECKING:
    from ..train.loop import Step


def show_value(value: object, t: Translate) -> str:
    """Return a setting's value for people."""
    if isinstance(value, bool):
        return t(say("yes") if value else say("no"))
    return f"{value:g}" if isinstance(value, float) else str(value)


def plan_rows(plan: Plan, t: Translate) -> list[tuple[str, str, str, str]]:
    """Return (setting, value, reason, source) of every choice."""

    def row(name: str, choice: Choice[Any]) -> tuple[str, str, str, str]:
        return (
            t(PLAN_VALUES[name].title),
            show_value(choice.value, t),
            t(choice.reason),
            t(SOURCES[choice.source]),
        )

    return [row(name, choice) for name, choice in plan.choices().items()]


def plan_summary(plan: Plan) -> Message:
    """Memory and time in one sentence."""
    needed, usable = format_bytes(plan.memory.total_bytes), format_bytes(plan.usable_bytes)
    if not plan.fits:
        return say(
            "This does not fit: about {needed} is needed, {usable} is available.",
            needed=needed,
            usable=usable,
        )
    return say(
        "About {needed} of {usable} memory, roughly {time} (hours:minutes:seconds).",
        needed=needed,
        usable=usable,
        time=format_seconds(plan.predicted_seconds),
    )


def hardware_rows(hardware: Hardware, t: Translate) -> list[tuple[str, str]]:
    """Return (what, value) of a machine."""
    return [
        (t(say("device")), t(DEVICE_PROFILES[hardware.device].title)),
        (t(say("name")), hardware.name),
        (t(say("number of devices")), str(hardware.num_devices)),
        (t(say("memory for training")), format_bytes(hardware.memory_bytes)),
        (t(say("memory of the machine")), format_bytes(hardware.system_memory_bytes)),
        (t(say("processor cores")), str(hardware.num_cores)),
        (t(say("free disk space")), format_bytes(hardware.free_disk_bytes)),
        (t(say("number format")), f"{hardware.dtype}: {t(hardware.dtype_reason)}"),
        *_rate_rows(hardware, t),
    ]


def _rate_rows(hardware: Hardware, t: Translate) -> list[tuple[str, str]]:
    rates = ", ".join(
        f"{name} {rate / 1e9:,.0f} GFLOP/s" for name, rate in hardware.gemm_flops_per_second.items()
    )
    return [(t(say("matrix products")), rates)] if rates else []


def step_line(step: Step, left_seconds: float) -> Message:
    """Return one optimizer step as one line of text, with the time that is left of the whole run."""
    if step.loss is None:
        return say(
            "Training step {step}/{total} - skipped: the loss was not a finite number",
            step=step.step,
            total=step.max_steps,
        )
    return say(
        "Training step {step}/{total} - Loss: {loss} - {rate} tokens/s - {left} left",
        step=step.step,
        total=step.max_steps,
        loss=f"{step.loss:.3f}",
        rate=f"{step.tokens_per_second:,.0f}",
        left=format_seconds(left_seconds),
    )


def error_lines(error: NugunaError, t: Translate) -> list[str]:
    """Return what happened, what was seen, what to do next."""
    lines = [t(error.what)]
    if error.seen is not None:
        lines.append(t(error.seen))
    lines.append("→ " + t(error.fix))
    return lines
