"""Draw the comparison as a picture for the README, from what benchmarks/engine.py --json wrote.

.venv/bin/python benchmarks/chart.py engine-trl.json engine-best.json docs/engine.svg
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from jinja2 import Environment

LABELS = {
    "trl": "TRL, as it comes",
    "trl-no-checkpointing": "TRL, its fastest setting",
    "trainer": "peft + Trainer",
}
PICTURE = """<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 640 {{ 60 + 46 * bars|length }}" role="img"
aria-label="{{ title }}">
<style>text { font: 15px system-ui, sans-serif; fill: #24292f } .s { font-size: 13px; fill: #57606a }
rect { fill: #8c959f } .o { fill: #1a7f37 }
@media (prefers-color-scheme: dark) { text { fill: #e6edf3 } .s { fill: #8d96a0 } }</style>
<text x="0" y="20" font-weight="600">{{ title }}</text>
{% for bar in bars %}<text x="0" y="{{ 60 + 46 * loop.index0 }}">{{ bar.label }}</text>
<rect{% if bar.is_ours %} class="o"{% endif %} x="190" y="{{ 44 + 46 * loop.index0 }}"
width="{{ (300 * bar.share)|round(1) }}" height="22" rx="3"/>
<text x="{{ (198 + 300 * bar.share)|round(1) }}" y="{{ 60 + 46 * loop.index0 }}">{{ bar.speed }}</text>
<text class="s" x="190" y="{{ 79 + 46 * loop.index0 }}">{{ bar.memory }}</text>
{% endfor %}</svg>
"""


def bars(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return one bar for us and one for each peer, the peers measured in other runs put in proportion by
    their ratio.
    """
    ours = rows[0]["ours_tokens_per_second"]
    memory = (rows[0]["ours_peak_bytes"] - rows[0]["ours_loaded_bytes"]) / 2**30
    found = [
        {
            "label": "nuguna",
            "is_ours": True,
            "share": 1.0,
            "speed": f"{ours:.0f} tokens/s",
            "memory": _gib(memory),
        }
    ]
    for row in rows:
        theirs = (row["peer_peak_bytes"] - row["peer_loaded_bytes"]) / 2**30
        speed = f"{row['peer_tokens_per_second']:.0f} (nuguna is {row['ratio']:.1f}×)"
        found.append(
            {
                "label": LABELS[row["peer"]],
                "is_ours": False,
                "share": 1 / row["ratio"],
                "speed": speed,
                "memory": _gib(theirs),
            }
        )
    return found


def _gib(size: float) -> str:
    return f"{size:.1f} GiB on top of the model"


def main() -> None:
    """Read the measurements, write the picture."""
    *sources, target = (Path(name) for name in sys.argv[1:])
    rows = [row for source in sources for row in json.loads(source.read_text())["rows"]]
    title = f"{rows[0]['shape']}, LoRA, {rows[0]['dtype']}, two processor cores"
    target.write_text(Environment(autoescape=True).from_string(PICTURE).render(bars=bars(rows), title=title))


if __name__ == "__main__":
    main()
