"""What all commands share: their frame, the screen, errors as sentences, JSON for programs."""

from __future__ import annotations

import inspect
import json
import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from ..errors import NugunaError, SettingError, UserError
from ..machine.stopping import raised_requests, stopped_by_you
from ..message import say
from ..plan.settings import SETTINGS, Request, gather
from ..text.language import Translate, choose_language, translator
from ..text.redaction import redact_document

if TYPE_CHECKING:
    from ..ui.screen import Screen

T = TypeVar("T")

DEFAULT_RUN = "./results"
# any fault in a command line; typer gives it no public name
CommandLineError: Any = typer.BadParameter.__bases__[0]


def _help_language() -> str:
    """Return the language of help texts is needed before flags are read: environment only."""
    wish = os.environ.get("NUGUNA_LANG", "").lower()
    return choose_language(wish, os.environ)


t: Translate = translator(_help_language())
app = typer.Typer(
    name="nuguna",
    help=t(say("Fine-tune a language model on your own machine with one command.")),
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["--help", "-h"]},
)

JsonFlag = Annotated[bool, typer.Option("--json", help=t(say("print one JSON document and nothing else")))]
PlanOption = Annotated[
    str | None,
    typer.Option(
        "--plan", metavar="FILE", help=t(say("take every setting not given here from this plan file"))
    ),
]
SystemOption = Annotated[
    str | None,
    typer.Option(
        "--system", metavar="TEXT", help=t(say("system prompt [the one that all training examples share]"))
    ),
]
RunArgument = Annotated[str, typer.Argument(metavar="RUN", help=t(say("folder of a finished run")))]


def with_settings(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command one flag for each field of `Request`; it receives them as the dict `flags`."""

    def wrapper(**values: object) -> None:
        flags = {setting.name: values.pop(setting.name) for setting in SETTINGS}
        command(flags=flags, **values)

    own = [p for p in inspect.signature(command, eval_str=True).parameters.values() if p.name != "flags"]
    flags = [
        inspect.Parameter(
            s.name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[str | None, _option(s)]
        )
        for s in SETTINGS
    ]
    parameters = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in own] + flags
    wrapper.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    wrapper.__name__, wrapper.__doc__ = command.__name__, command.__doc__
    return wrapper


def _option(setting: Any) -> Any:
    default = f" [{setting.default}]" if setting.default is not None else ""
    return typer.Option(
        setting.flag, metavar=setting.env, help=t(setting.meaning) + default, show_default=False
    )


def asking(request: Request, screen: Screen, as_json: bool, action: Callable[[Request], T]) -> T:
    """Do something with the data; where its columns are not clear, ask who sits at the terminal, and do it
    again.
    """
    from ..data.dataset import UnclearColumnsError
    from ..ui.columns import ask_columns, can_ask

    try:
        return action(request)
    except UnclearColumnsError as error:
        chosen = None if as_json or not can_ask() else ask_columns(error, screen)
        if chosen is None:
            raise
        return action(replace(request, data_columns=chosen))


def take_request(flags: dict[str, Any], plan_file: str | None) -> tuple[Request, dict[str, Any]]:
    """Return the user's wishes from flags, environment and plan file, and what only a plan file can say."""
    if plan_file is None:
        return gather(flags, os.environ, {}), {}
    from ..plan.plan_file import read_plan, split_edited

    wishes, edited = split_edited(read_plan(Path(plan_file)))
    return gather(flags, os.environ, wishes), edited


def open_screen(wish: str | None, as_json: bool, log: bool = False) -> tuple[str, Screen]:
    """Return the chosen language and a screen in it; with --json, words for people go to standard error."""
    from ..ui.logfile import LogFile
    from ..ui.screen import SafeConsole, Screen

    lang = choose_language((wish or os.environ.get("NUGUNA_LANG", "")).lower(), os.environ)
    console = SafeConsole(stderr=as_json, highlight=False, emoji=False)
    return lang, Screen(console, translator(lang), LogFile(Path.cwd()) if log else None, program())


class errors:  # noqa: N801 - a context manager, read as a word
    """Turns our errors into their sentences and exit codes; a fault of the program keeps its traceback in the
    log alone.

    Ctrl-C and SIGTERM raise within, and the second of them ends the process.
    """

    def __init__(self, screen: Screen, as_json: bool = False) -> None:
        self.screen, self.as_json = screen, as_json
        self._requests = raised_requests()

    def __enter__(self) -> None:
        self._stop = self._requests.__enter__()

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self._requests.__exit__(None, None, None)
        if error is None or isinstance(error, (typer.Exit, SystemExit)):
            self.screen.close()
            return
        if isinstance(error, KeyboardInterrupt) or (
            self._stop.is_asked and not isinstance(error, NugunaError)
        ):
            error = stopped_by_you(self._stop.number)
        if isinstance(error, NugunaError):
            if self.as_json:
                print_json(error_json(error))
            self.screen.error(error)
            self.screen.close(keep_log=not isinstance(error, UserError))
            raise typer.Exit(error.exit_code)
        self.screen.fault(error)
        self.screen.close()
        raise typer.Exit(1)


def error_json(error: NugunaError) -> dict[str, Any]:
    """Return what a program that waits for a document gets instead: the same three sentences, in English."""
    parts = {
        "what": str(error.what),
        "seen": "" if error.seen is None else str(error.seen),
        "fix": str(error.fix),
    }
    return {
        "status": "refused" if isinstance(error, UserError) else "failed",
        "error": {"kind": type(error).__name__, **parts},
    }


def misunderstood(words: list[str], reason: str) -> SettingError:
    """`reason` is typer's own English sentence; who reads another language sees what was typed instead."""
    commands = [command.callback.__name__ for command in app.registered_commands if command.callback]
    chosen = [word for word in words[:1] if word in commands]
    return SettingError(
        say("This command line was not understood."),
        seen=say("{reason}", reason=reason)
        if reason
        else say("You typed: {words}", words=" ".join(["nuguna", *words])),
        fix=say("See all commands and options: {command}", command=" ".join(["nuguna", *chosen, "--help"])),
    )


def program() -> str:
    """Return how the user can call us: `nuguna` when it is on the PATH, else the path from here."""
    if shutil.which("nuguna"):
        return "nuguna"
    path = Path(sys.argv[0])
    try:
        return os.path.relpath(path) if path.name.startswith("nuguna") else "nuguna"
    except ValueError:  # another drive on Windows
        return str(path)


def print_json(document: object) -> None:
    """One document on standard output; passwords and keys are taken out."""
    sys.stdout.write(json.dumps(redact_document(document), ensure_ascii=False, indent=2) + "\n")
