"""The plans of other people's machines, as the table in docs/machines.md: python -m tools.machines writes it
anew.

The machines are invented, as `nuguna check --json` would describe them (tests/machines). All models of the
catalogue are at hand.
"""

from __future__ import annotations

import re
from pathlib import Path

from nuguna.base_models.catalog import demo_model, load_catalog
from nuguna.data.facts import DataFacts
from nuguna.machine.hardware import Hardware, read_hardware
from nuguna.plan.plan import Plan, make_plan
from nuguna.plan.settings import Request
from nuguna.text.units import format_bytes, format_seconds

ROOT = Path(__file__).parents[1]
MACHINES = ROOT / "tests" / "machines"
DOCUMENT = ROOT / "docs" / "machines.md"
# what many people's own data is like: short questions with answers of a few sentences, a few much longer
FACTS = DataFacts(
    source="pairs.csv",
    num_examples=500,
    num_heldout=0,
    mean_chars=300.0,
    max_chars=2000,
    quantile_chars=(80, 140, 200, 260, 340, 700, 1100),
    has_korean=True,
)
HEADINGS = (
    *(
        "machine",
        "memory it can use",
        "model",
        "parameters",
        "weights in",
        "longest example",
        "at once",
        "computed twice",
    ),
    *("memory needed", "time"),
)


def plan_of(path: Path, request: Request | None = None) -> tuple[Hardware, Plan]:
    """Return a machine, and what is planned for it."""
    hardware = read_hardware(path)
    return hardware, make_plan(request or Request(), hardware, FACTS, (*load_catalog(), demo_model()))


def machine_files() -> list[Path]:
    """Return each machine's description, in the order of the table."""
    return sorted(MACHINES.glob("*.json"))


def row(path: Path) -> list[str]:
    """Return what the table says of one machine."""
    hardware, plan = plan_of(path)
    model = next(m for m in (*load_catalog(), demo_model()) if m.id == plan.model.value)
    millions = round(model.num_parameters / 1e6)
    stored = (
        plan.dtype.value
        if plan.quantization.value == "none"
        else f"{plan.quantization.value} + {plan.dtype.value}"
    )
    return [
        f"{path.stem}: {hardware.name}"
        + (f", {hardware.num_devices} of them" if hardware.num_devices > 1 else ""),
        format_bytes(hardware.memory_bytes),
        f"`{model.id}`",
        f"{millions / 1000:.1f} B" if millions >= 1000 else f"{millions} M",
        stored,
        str(plan.max_seq_length.value),
        str(plan.micro_batch_size.value),
        "yes" if plan.gradient_checkpointing.value else "no",
        format_bytes(plan.memory.total_bytes),
        format_seconds(plan.predicted_seconds),
    ]


def table() -> str:
    """Return all of it in Markdown."""
    rows = [list(HEADINGS), ["---"] * len(HEADINGS), *map(row, machine_files())]
    return "".join("| " + " | ".join(cells) + " |\n" for cells in rows)


def main() -> None:
    """Put the table into its place."""
    text = DOCUMENT.read_text(encoding="utf-8")
    begin, end = "<!-- machines:begin -->\n", "<!-- machines:end -->"
    DOCUMENT.write_text(
        re.sub(f"{begin}.*?{end}", lambda _: begin + table() + end, text, flags=re.DOTALL), encoding="utf-8"
    )


if __name__ == "__main__":
    main()
