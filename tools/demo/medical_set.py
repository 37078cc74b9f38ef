"""Write the medical set from the reviewed facts: `python -m tools.demo.medical_set`.

train.jsonl                two phrasings of every fact, Korean and English
heldout_phrasings.jsonl    the same conditions, asked in wordings that training does not contain
heldout_conditions.jsonl   conditions that training does not contain at all
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from .facts import ASPECTS, LANGUAGES, Condition, load_conditions
from .questions import ASKED, UNSEEN, answer, subject

SEED = 7
OUT = Path(__file__).parents[2] / "src" / "nuguna" / "demo" / "medical"
NUM_UNSEEN_CONDITIONS = 16
PHRASINGS = 2
# conditions that the guide asks about by name: they stay in training
_KEPT = {"hypertension", "asthma", "type_2_diabetes", "influenza"}

Row = dict[str, Any]


def make_sets(conditions: list[Condition]) -> dict[str, list[Row]]:
    """Return the three parts, each in a seeded random order."""
    rng = random.Random(SEED)
    unseen = set(rng.sample([c.id for c in conditions if c.id not in _KEPT], NUM_UNSEEN_CONDITIONS))
    train: list[Row] = []
    phrasings: list[Row] = []
    others: list[Row] = []
    for condition in conditions:
        for aspect in ASPECTS:
            for lang in LANGUAGES:
                if condition.id in unseen:
                    others.append(make_row(condition, aspect, lang, rng.choice(ASKED[aspect, lang])))
                    continue
                for template in rng.sample(ASKED[aspect, lang], PHRASINGS):
                    train.append(make_row(condition, aspect, lang, template))
                phrasings.append(make_row(condition, aspect, lang, rng.choice(UNSEEN[aspect, lang])))
    parts = {"train": train, "heldout_phrasings": phrasings, "heldout_conditions": others}
    for rows in parts.values():
        rng.shuffle(rows)
    return parts


def make_row(condition: Condition, aspect: str, lang: str, template: str) -> Row:
    """Return one conversation, with the terms its answer must contain."""
    name, terms = condition.names[lang], condition.terms[aspect, lang]
    return {
        "messages": [
            {"role": "user", "content": template.format(x=subject(name, lang, condition.plural))},
            {"role": "assistant", "content": answer(aspect, lang, name, terms, condition.plural)},
        ],
        "topic": condition.id,
        "aspect": aspect,
        "lang": lang,
        "terms": list(terms),
    }


def write(path: Path, rows: Iterable[Row]) -> int:
    """Return one JSON object a line; returns the number of lines."""
    lines = [json.dumps(row, ensure_ascii=False) for row in rows]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return len(lines)


if __name__ == "__main__":
    OUT.mkdir(parents=True, exist_ok=True)
    for name, rows in make_sets(load_conditions()).items():
        print(name, write(OUT / f"{name}.jsonl", rows))
