"""The translation catalogue: `python -m tools.translations` extracts every `say(...)` and compiles what is
translated.

Writes locale/nuguna.pot, brings locale/ko/LC_MESSAGES/nuguna.po up to date and compiles it to nuguna.mo,
which the program reads. `--check` writes nothing and says what is missing (exit 1).
"""

from __future__ import annotations

import datetime
import io
import string
import sys
from pathlib import Path

from babel.messages.catalog import Catalog
from babel.messages.extract import extract_from_dir
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po, write_po

SOURCE = Path(__file__).parents[1] / "src" / "nuguna"
LOCALE = SOURCE / "locale"
PO = LOCALE / "ko" / "LC_MESSAGES" / "nuguna.po"
MO = PO.with_suffix(".mo")
_NO_DATE = datetime.datetime(2026, 1, 1, tzinfo=datetime.timezone.utc)


def extract() -> Catalog:
    """Return all templates in the sources, in a fixed order and without line numbers, so that the file
    changes only with the words.
    """
    catalog = Catalog(project="nuguna", charset="utf-8")
    found = extract_from_dir(SOURCE, [("**.py", "python")], keywords={"say": None})
    for filename, _, message, _, _ in sorted(found, key=lambda item: (item[0], item[1])):
        if isinstance(message, str):
            catalog.add(message, locations=[(filename, 0)])
    return catalog


def read() -> Catalog:
    """Return the Korean catalogue as it is on disk."""
    if not PO.exists():
        return Catalog(locale="ko")
    with open(PO, "rb") as file:
        return read_po(file, locale="ko")


def places(template: str) -> set[str]:
    """Return names in braces."""
    return {name for _, name, _, _ in string.Formatter().parse(template) if name and name.isidentifier()}


def problems(template: Catalog, korean: Catalog) -> list[str]:
    """Sentences without a translation, and translations whose places differ from the original's."""
    found = []
    for message in template:
        if not message.id:
            continue
        text = korean.get(message.id)
        if text is None or not text.string or text.fuzzy:
            found.append(f"not translated: {message.id}")
        elif (
            "{" in str(message.id)
            and _formatted(str(message.id))
            and places(str(message.id)) != places(str(text.string))
        ):
            found.append(f"other places: {message.id} → {text.string}")
    return found


def _formatted(template: str) -> bool:
    try:
        return bool(places(template))
    except ValueError:  # a literal brace in a template without values
        return False


def compiled(korean: Catalog) -> bytes:
    """Return the bytes of nuguna.mo."""
    buffer = io.BytesIO()
    write_mo(buffer, korean)
    return buffer.getvalue()


def main() -> int:
    """Extract, merge, compile, and say what is missing."""
    template, korean = extract(), read()
    missing = problems(template, korean)
    if "--check" not in sys.argv:
        korean.update(template, no_fuzzy_matching=True)
        korean.obsolete.clear()
        korean.header_comment = "# Korean translation of nuguna, under the licence of the program."
        korean.creation_date = korean.revision_date = _NO_DATE  # the file changes only when the words do
        korean.fuzzy = False
        PO.parent.mkdir(parents=True, exist_ok=True)
        with open(LOCALE / "nuguna.pot", "wb") as file:
            write_po(file, template, omit_header=True, no_location=False, include_lineno=False, width=130)
        with open(PO, "wb") as file:
            write_po(file, korean, omit_header=False, include_lineno=False, width=130)
        MO.write_bytes(compiled(read()))
    print("\n".join(missing) or "all translated")
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
