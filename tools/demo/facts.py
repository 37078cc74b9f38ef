"""The reviewed medical facts: `facts/*.toml`, one block a condition, short lists of terms an aspect and a
language.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import tomlkit

ASPECTS = ("definition", "symptoms", "causes", "diagnosis", "treatment", "prevention", "see_doctor")
LANGUAGES = ("ko", "en")
FACTS = Path(__file__).parent / "facts"


@dataclass(frozen=True)
class Condition:
    """One condition: its names, and for each aspect and language a list of terms."""

    id: str
    names: dict[str, str]
    plural: bool
    terms: dict[tuple[str, str], tuple[str, ...]]  # (aspect, language) → terms
    file: str


def load_conditions(folder: Path = FACTS) -> list[Condition]:
    """Return all conditions, ordered by file and place in it."""
    conditions = []
    for path in sorted(folder.glob("*.toml")):
        for key, block in tomlkit.parse(path.read_text(encoding="utf-8")).unwrap().items():
            conditions.append(
                Condition(
                    id=key,
                    names={lang: block[lang] for lang in LANGUAGES},
                    plural=block.get("en_plural", False),
                    terms={(a, lang): tuple(block[a][lang]) for a in ASPECTS for lang in LANGUAGES},
                    file=path.stem,
                )
            )
    return conditions
