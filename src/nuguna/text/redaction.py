"""Passwords and keys are taken out of every text at the doors where texts leave: screen, log, JSON, files of
a run.

What is taken out: the values of environment variables whose names say so, this user's token for the hub, what
looks like a key of a known kind, and the password in an address. What a model answers on the screen is not
touched, nor are weights and tokenizers.
"""

from __future__ import annotations

import html
import json
import os
import re
from functools import lru_cache
from pathlib import Path
from typing import Any

HIDDEN = "[hidden]"
SECRET_NAMES = ("TOKEN", "KEY", "SECRET", "PASSWORD")
MIN_CHARACTERS = 8  # shorter values are no secrets, and would be found in any text
_MAX_TOKEN_BYTES = 4096
# https://docs.github.com/authentication/keeping-your-account-and-data-secure/about-authentication-to-github#githubs-token-formats
# https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_identifiers.html
_KEYS = re.compile(
    r"\b(?:hf_[A-Za-z0-9]{20,}|sk-[A-Za-z0-9_-]{20,}|gh[opsur]_[A-Za-z0-9]{30,}|github_pat_\w{30,}|(?:AKIA|ASIA)[A-Z0-9]{16}\b"
    r"|xox[abprs]-[A-Za-z0-9-]{10,}|AIza[A-Za-z0-9_-]{35})",
    re.ASCII,
)
_ADDRESS = re.compile(r"([A-Za-z][A-Za-z0-9+.-]{1,20}://)[^\s/@?#\"'<>]{1,256}@")
_QUICK = ("hf_", "sk-", "gh", "github_pat_", "AKIA", "ASIA", "xox", "AIza", "://")


def redact(text: str) -> str:
    """Return the text with `[hidden]` in the place of every secret."""
    for secret in _secrets():
        if secret in text:
            text = text.replace(secret, HIDDEN)
    if any(sign in text for sign in _QUICK):
        text = _ADDRESS.sub(rf"\1{HIDDEN}@", _KEYS.sub(HIDDEN, text))
    return text


def redact_document(document: object) -> Any:
    """Return a JSON document with the same done to every text in it, names of entries too; numbers and its
    shape stay.
    """
    if isinstance(document, str):
        return redact(document)
    if isinstance(document, dict):
        return {
            redact(name) if isinstance(name, str) else name: redact_document(value)
            for name, value in document.items()
        }
    if isinstance(document, list | tuple):
        return [redact_document(value) for value in document]
    return document


def _secrets() -> list[str]:
    """Return what must not be seen, as it can stand in a text, in JSON and in HTML; the longest first, since
    one can hold another.
    """
    found = [value.strip() for name, value in os.environ.items() if name.upper().endswith(SECRET_NAMES)]
    found.append(_token(_token_file()))
    plain = {value for value in found if len(value) >= MIN_CHARACTERS}
    forms = {
        form
        for value in plain
        for form in (value, html.escape(value), json.dumps(value, ensure_ascii=False)[1:-1])
    }
    return sorted(forms | {json.dumps(value)[1:-1] for value in plain}, key=len, reverse=True)


def _token_file() -> str:
    """Return where `hf auth login` keeps the token: huggingface_hub's own rule, which costs too much to
    import for every command.
    """
    cache = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    home = os.environ.get("HF_HOME") or str(Path(cache) / "huggingface")
    return os.path.expanduser(os.environ.get("HF_TOKEN_PATH") or str(Path(home) / "token"))


@lru_cache(maxsize=4)
def _token(path: str) -> str:
    try:
        with open(path, encoding="utf-8") as file:
            return file.read(_MAX_TOKEN_BYTES).strip()
    except (OSError, ValueError):
        return ""
