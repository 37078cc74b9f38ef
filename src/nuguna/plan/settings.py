"""The user's wishes: one definition each. Flags, environment variables, plan files and the Python API are
made from `Request`.
"""

from __future__ import annotations

import difflib
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from ..data.files.columns import join_columns, split_columns
from ..errors import SettingError
from ..message import Message, say

QUANTIZATIONS = ("none", "8bit", "4bit", "auto")
LANGUAGES = ("ko", "en", "auto")
MAX_WHOLE = 10_000_000


def _wish(
    env: str,
    default: Any,
    meaning: Message,
    parse: Callable[[Any], Any],
    expects: Message,
    *,
    title: Message | None = None,
    kind: type = str,
    choices: tuple[str, ...] = (),
    has_effect: bool = True,
) -> Any:
    """Return one field of `Request`: `None` means "not said"; everything else about the setting stands in its
    metadata.
    """
    about = {"env": env, "default": default, "meaning": meaning, "expects": expects, "_parse": parse}
    return field(
        default=None,
        metadata={**about, "title": title, "kind": kind, "choices": choices, "has_effect": has_effect},
    )


def _text(value: object) -> str:
    if not isinstance(value, str) or not value.strip() or "\0" in value:
        raise ValueError
    # UnicodeEncodeError is a ValueError: bytes of the environment that are not text could not be written down
    value.encode()
    return value.strip()


def _columns(value: object) -> str:
    """Return one or two names; nothing is nothing said."""
    names = [name.strip() for name in split_columns(_text(value))] if value else []
    if len(names) > 2 or not all(names):
        raise ValueError
    return join_columns(names)


def _whole(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, str)):
        raise ValueError
    number = int(value)
    if not 1 <= number <= MAX_WHOLE:
        raise ValueError
    return number


def _seed(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, str)) or not 0 <= int(value) < 2**32:
        raise ValueError
    return int(value)


def _rate(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise ValueError
    number = float(value)
    if not (math.isfinite(number) and 0 < number <= 1):
        raise ValueError
    return number


def _scale(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise ValueError
    number = float(value)
    if not (math.isfinite(number) and 0 < number <= MAX_WHOLE):
        raise ValueError
    return number


def _one_of(*choices: str) -> Callable[[Any], str]:
    def parse(value: object) -> str:
        lowered = _text(value).lower()
        if lowered not in choices:
            raise ValueError
        return lowered

    return parse


_WHOLE = say("a whole number, 1 or more")


@dataclass(frozen=True, kw_only=True)
class Request:
    """What the user wishes; `None` means that it is left to the planner.

    `sources` says where each wish came from ("flag", "environment", "plan file"); a wish made in Python has
    none. Raises `SettingError` for a value that no run could use.
    """

    model: str | None = _wish(
        "MODEL",
        "auto",
        say("base model: auto, demo, a local folder, or owner/name on the hub"),
        _text,
        say("a name or a folder"),
        title=say("base model"),
    )
    data: str | None = _wish(
        "DATASET",
        "demo",
        say("dataset: demo (the built-in medical set), a file or folder, or owner/name on the hub"),
        _text,
        say("the name of a file, a folder or a dataset"),
        title=say("data"),
    )
    data_columns: str | None = _wish(
        "DATA_COLUMNS",
        None,
        say(
            "which columns to train on, if they are not found automatically: QUESTION,ANSWER or one of plain "
            "text"
        ),
        _columns,
        say("one or two column names, separated by a comma"),
        title=say("columns"),
    )
    output_dir: str | None = _wish(
        "OUTPUT_DIR",
        "./results",
        say("folder for the result"),
        _text,
        say("a folder name"),
        title=say("result folder"),
        has_effect=False,
    )
    max_steps: int | None = _wish(
        "MAX_STEPS", 100, say("optimizer steps"), _whole, _WHOLE, title=say("steps"), kind=int
    )
    batch_size: int | None = _wish(
        "BATCH_SIZE",
        4,
        say("examples per optimizer step, all devices together"),
        _whole,
        _WHOLE,
        title=say("batch size"),
        kind=int,
    )
    max_seq_length: int | None = _wish(
        "MAX_SEQ_LENGTH",
        512,
        say("longest example, in tokens"),
        _whole,
        _WHOLE,
        title=say("longest example (tokens)"),
        kind=int,
    )
    lora_r: int | None = _wish(
        "LORA_R", 32, say("rank of the adapter"), _whole, _WHOLE, title=say("adapter rank"), kind=int
    )
    lora_alpha: float | None = _wish(
        "LORA_ALPHA",
        16,
        say("scale of the adapter"),
        _scale,
        say("a number above 0"),
        title=say("adapter scale"),
        kind=float,
    )
    learning_rate: float | None = _wish(
        "LEARNING_RATE",
        None,
        say("peak learning rate"),
        _rate,
        say("a number above 0 and at most 1"),
        title=say("learning rate"),
        kind=float,
    )
    quantization: str | None = _wish(
        "QUANTIZATION",
        "auto",
        say("how the base model is stored"),
        _one_of(*QUANTIZATIONS),
        say("one of none, 8bit, 4bit, auto"),
        title=say("quantization"),
        choices=QUANTIZATIONS,
    )
    seed: int | None = _wish(
        "SEED",
        42,
        say("seed of all random numbers"),
        _seed,
        say("a whole number, 0 or more"),
        title=say("random seed"),
        kind=int,
    )
    lang: str | None = _wish(
        "NUGUNA_LANG", "auto", say("language of messages"), _one_of(*LANGUAGES), say("one of ko, en, auto")
    )
    sources: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for item in SETTINGS:
            value = getattr(self, item.name)
            if value is not None:
                object.__setattr__(self, item.name, item.parse(value, self.sources.get(item.name, "")))


# of settings that are found out, if not said
_EXAMPLES = {"learning_rate": 0.0002, "data_columns": "question,answer"}


@dataclass(frozen=True)
class Setting:
    """One setting, read off its field in `Request`."""

    name: str
    env: str
    default: Any
    meaning: Message
    expects: Message
    _parse: Callable[[Any], Any]
    title: Message | None  # in a plan; None for what is no part of one
    kind: type  # str, int or float
    choices: tuple[str, ...]  # () for any
    has_effect: bool  # on the trained weights, beyond the last digits of their numbers

    @property
    def flag(self) -> str:
        """The command-line spelling."""
        return "--" + self.name.replace("_", "-")

    def parse(self, value: object, source: str = "") -> Any:
        """Return the value in its type, or `SettingError` with the mend in the user's own spelling."""
        try:
            return self._parse(value)
        except (ValueError, OverflowError, TypeError):
            example = self.default if self.default is not None else _EXAMPLES[self.name]
            typed, name = f"{self.env}={example}", self.env
            if source == "flag":
                typed, name = f"{self.flag} {example}", self.flag
            elif source == "plan file":
                typed, name = f"{self.name} = {json.dumps(example)}", self.name
            raise SettingError(
                say("{name} cannot be {value}.", name=name, value=repr(value)),
                seen=say("It must be {expected}.", expected=self.expects),
                fix=say("For example: {typed}", typed=typed),
            ) from None


SETTINGS: tuple[Setting, ...] = tuple(
    Setting(item.name, **item.metadata) for item in fields(Request) if item.metadata
)


def setting_named(name: str) -> Setting:
    """Return the setting of this name, which there must be."""
    return next(setting for setting in SETTINGS if setting.name == name)


def gather(flags: Mapping[str, Any], environ: Mapping[str, str], plan_file: Mapping[str, Any]) -> Request:
    """Return one request from all the places where a wish can stand: flag before environment before plan
    file.

    An empty environment variable counts as not set. Raises `SettingError`.
    """
    values: dict[str, Any] = {}
    sources: dict[str, str] = {}
    for setting in SETTINGS:
        spoken = environ.get(setting.env)
        places = (
            ("flag", flags.get(setting.name)),
            ("environment", spoken if spoken and spoken.strip() else None),
            ("plan file", plan_file.get(setting.name)),
        )
        for source, value in places:
            if value is not None:
                values[setting.name], sources[setting.name] = value, source
                break
    return Request(**values, sources=sources)


def unknown_key(name: str, known: list[str], file: str) -> SettingError:
    """Return the error for a key that no setting has, with the nearest one that exists."""
    near = difflib.get_close_matches(name, known, n=1)
    fix = (
        say("Did you mean {near}?", near=near[0])
        if near
        else say("Known keys are: {names}", names=", ".join(known))
    )
    return SettingError(say("{file} has an unknown key: {name}", file=file, name=name), fix=fix)
