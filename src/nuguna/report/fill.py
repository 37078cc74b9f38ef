"""Templates filled in: pages and the card. Whatever a model wrote is hostile until it is escaped, and that is
done here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

_TEMPLATES = FileSystemLoader(Path(__file__).parent.parent / "templates")  # no sentence stands in them
_MARKDOWN = re.compile(r"[\\`*_\[\]|~#!$]")
_HTML = {"&": "&amp;", "<": "&lt;", ">": "&gt;", "@": "&#64;"}


def fill_html(template: str, context: Mapping[str, Any]) -> str:
    """Return a page in which every value is only text in HTML."""
    environment = Environment(
        loader=_TEMPLATES, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.get_template(template).render(context)


def fill_markdown(template: str, context: Mapping[str, Any]) -> str:
    """Return a document in which every value but `Markup` is only text in Markdown."""
    environment = Environment(  # noqa: S701 - Markdown: as_text takes its signs for what they are
        loader=_TEMPLATES, finalize=as_text, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.get_template(template).render(context)


def as_text(value: object) -> str:
    """Return any text as one line that is only text in Markdown: no markup, no HTML, no table bars. `Markup`
    passes.
    """
    if isinstance(value, Markup):
        return value
    line = " ".join(str(value).split())
    escaped = "".join(_HTML.get(sign, sign) for sign in _MARKDOWN.sub(lambda match: "\\" + match[0], line))
    # GitHub's Markdown links bare addresses
    return escaped.replace("://", "&#58;//").replace("www.", "www&#46;")
