"""Which language the user reads, and messages in it. English is the source text; Korean comes from
`locale/ko`.
"""

from __future__ import annotations

import gettext
import locale
from collections.abc import Callable, Mapping
from pathlib import Path

from ..message import Message

LOCALE = Path(__file__).parents[1] / "locale"
Translate = Callable[[Message], str]


def choose_language(wish: str | None, environ: Mapping[str, str]) -> str:
    """`ko` or `en`: the wish, else the locale of the environment, else what the system says (macOS may set
    none).
    """
    if wish in ("ko", "en"):
        return wish
    for name in ("LC_ALL", "LC_MESSAGES", "LANG"):
        if value := environ.get(name):
            return "ko" if value.lower().startswith("ko") else "en"
    return "ko" if (locale.getlocale()[0] or "").lower().startswith("ko") else "en"


def translator(lang: str) -> Translate:
    """Return a function from messages to text in `lang`. Values that are messages themselves are translated
    too.
    """
    catalogue = gettext.translation("nuguna", LOCALE, languages=[lang], fallback=True)

    def translate(message: Message) -> str:
        # "" is the catalogue's own header
        template = catalogue.gettext(message.template) if message.template else ""
        if not message.values:
            # a template without values is not formatted: say() in code doubles braces only where there are
            # values
            return template
        return template.format(
            **{k: translate(v) if isinstance(v, Message) else v for k, v in message.values.items()}
        )

    return translate
