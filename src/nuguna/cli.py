"""Commands, flags and exit codes. Nothing heavy is imported before a command needs it, so `--help` is instant."""

from __future__ import annotations

import inspect
import json
import os
import shutil
import signal
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from . import __version__
from .errors import DataError, Interrupted, NugunaError, SettingError, UserError
from .language import Translate, choose_language, translator
from .message import say
from .process import prepare
from .settings import SETTINGS, Request, gather

if TYPE_CHECKING:
    from .plan import Plan
    from .report.outcome import Report
    from .ui.screen import Screen

T = TypeVar("T")

DEFAULT_RUN = "./results"
_CommandLineError: Any = typer.BadParameter.__bases__[0]  # any fault in a command line; typer gives it no public name


def _help_language() -> str:
    """The language of help texts is needed before flags are read: environment only."""
    wish = os.environ.get("NUGUNA_LANG", "").lower()
    return choose_language(wish, os.environ)


_t: Translate = translator(_help_language())
app = typer.Typer(
    name="nuguna",
    help=_t(say("Fine-tune a language model on your own machine with one command.")),
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["--help", "-h"]},
)

JsonFlag = Annotated[bool, typer.Option("--json", help=_t(say("print one JSON document and nothing else")))]
PlanOption = Annotated[
    str | None, typer.Option("--plan", metavar="FILE", help=_t(say("take what is not said here from this plan file")))
]
SystemOption = Annotated[
    str | None, typer.Option("--system", metavar="TEXT", help=_t(say("system prompt [the one of all training examples]")))
]
RunArgument = Annotated[str, typer.Argument(metavar="RUN", help=_t(say("folder of a finished run")))]


def with_settings(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command one flag for each field of `Request`; it receives them as the dict `flags`."""

    def wrapper(**values: Any) -> None:
        flags = {setting.name: values.pop(setting.name) for setting in SETTINGS}
        command(flags=flags, **values)

    own = [p for p in inspect.signature(command, eval_str=True).parameters.values() if p.name != "flags"]
    flags = [
        inspect.Parameter(s.name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[str | None, _option(s)])
        for s in SETTINGS
    ]
    wrapper.__signature__ = inspect.Signature([p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in own] + flags)  # type: ignore[attr-defined]
    wrapper.__name__, wrapper.__doc__ = command.__name__, command.__doc__
    return wrapper


def _option(setting: Any) -> Any:
    default = f" [{setting.default}]" if setting.default is not None else ""
    return typer.Option(setting.flag, metavar=setting.env, help=_t(setting.meaning) + default, show_default=False)


@app.command(help=_t(say("What this machine is and what it can train.")))
def check(as_json: JsonFlag = False) -> None:
    """`nuguna check`."""
    from .hardware import detect

    lang, screen = _screen(None, as_json)
    with _errors(screen, as_json):
        hardware = detect(Path.cwd())
        if as_json:
            _print_json(hardware.to_json())
        else:
            screen.hardware(hardware)


@app.command(help=_t(say("What would be done, why, and how much memory and time it takes. Trains nothing, writes plan.toml.")))
@with_settings
def plan(
    *,
    flags: dict[str, Any],
    plan_file: PlanOption = None,
    hardware: Annotated[
        str | None,
        typer.Option(
            "--hardware", metavar="FILE", help=_t(say("plan for the machine described in this file (nuguna check --json)"))
        ),
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """`nuguna plan`."""
    lang, screen = _screen(flags.get("lang"), as_json)
    with _errors(screen, as_json):
        request, edited = _request(flags, plan_file)
        lang, screen = _screen(request.lang, as_json)
    with _errors(screen, as_json):
        from .hardware import detect, read_hardware
        from .intake import read_data
        from .planfile import keep_older, write_plan
        from .remedy import misfit

        request, dataset = _asking(request, screen, as_json, lambda asked: (asked, read_data(asked, screen.reading)))
        machine = read_hardware(Path(hardware)) if hardware else detect(Path.cwd())
        from .stages import decide

        made, _ = decide(request, machine, dataset, edited)
        _show_plan(made, screen, as_json)
        if (error := misfit(made)) is not None:
            screen.error(error)
            raise typer.Exit(error.exit_code)
        place = Path("plan.toml")
        if kept := keep_older(made, place, translator(lang)):
            screen.line(screen.t(say("The earlier plan was kept: {file} is now {kept}.", file=place, kept=kept)))
        write_plan(made, place, translator(lang))
        if not as_json:
            screen.line(
                screen.t(say("Written to plan.toml. Train with it: {command}", command=f"{program()} train --plan plan.toml"))
            )


def _show_plan(made: Plan, screen: Screen, as_json: bool) -> None:
    if as_json:
        _print_json(made.to_json())
    else:
        screen.plan(made)


@app.command(help=_t(say("Train: the main job, from the data to a proven result.")))
@with_settings
def train(*, flags: dict[str, Any], plan_file: PlanOption = None, as_json: JsonFlag = False) -> None:
    """`nuguna train`."""
    lang, screen = _screen(flags.get("lang"), as_json)
    with _errors(screen, as_json):
        request, edited = _request(flags, plan_file)
        lang, screen = _screen(request.lang, as_json, log=True)
    with _errors(screen, as_json):
        from .run import run

        def run_it(asked: Request) -> Report:
            return run(asked, tell=screen, translate=translator(lang), lang=lang, edited=edited)

        report = _asking(request, screen, as_json, run_it)
        if as_json:
            _print_json(report.to_json())
    if report.status != "succeeded":
        raise typer.Exit(1)


@app.command(help=_t(say("What is in a dataset, what is wrong with it, and which words are trained.")))
def data(
    source: Annotated[str, typer.Argument(metavar="FILE", help=_t(say("a file, a folder, owner/name on the hub, or demo")))],
    model: Annotated[str | None, typer.Option("--model", help=_t(say("count tokens as this model does [demo]")))] = None,
    max_seq_length: Annotated[str | None, typer.Option("--max-seq-length", help=_t(say("longest example, in tokens")))] = None,
    columns: Annotated[
        str | None, typer.Option("--data-columns", help=_t(say("QUESTION,ANSWER or one column of plain text")))
    ] = None,
    fix: Annotated[
        str | None, typer.Option("--fix", metavar="OUT.jsonl", help=_t(say("write a clean copy, and a list of what was changed")))
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """`nuguna data`."""
    flags = {"data": source, "model": model, "max_seq_length": max_seq_length, "data_columns": columns}
    _, screen = _screen(None, as_json)
    with _errors(screen):
        request = gather(flags, os.environ, {})
        from .inspection import inspect_data, mend_data, refusal_json
        from .ui.data_view import show, show_mended

        try:
            request, (found, name) = _asking(request, screen, as_json, lambda asked: (asked, inspect_data(asked, screen.reading)))
        except DataError as error:
            if as_json:
                _print_json(refusal_json(error))
            raise
        if as_json:
            _print_json(found.to_json())
        else:
            show(found, screen, model=name, request=request)
        if fix is not None:
            show_mended(mend_data(found, Path(fix), screen.t), screen)
    if found.reason is not None and fix is None:
        raise typer.Exit(DataError.exit_code)


@app.command(help=_t(say("One answer from a finished run.")))
def ask(
    words: Annotated[
        list[str], typer.Argument(metavar="[RUN] QUESTION", help=_t(say("folder of a finished run, and the question")))
    ],
    base: Annotated[bool, typer.Option("--base", help=_t(say("answer without the adapter, to compare")))] = False,
    system: SystemOption = None,
    as_json: JsonFlag = False,
) -> None:
    """`nuguna ask`."""
    _, screen = _screen(None, as_json)
    run_folder, question = (words[0], " ".join(words[1:])) if len(words) > 1 else (DEFAULT_RUN, words[0])
    with _errors(screen, as_json):
        from .chat import open_session

        session = open_session(Path(run_folder), use_base=base, system=system)
        made = session.ask(question)
        if as_json:
            rate = made.num_tokens / made.seconds if made.seconds else 0.0
            _print_json(
                {
                    "question": question,
                    "answer": made.text,
                    "stopped": made.stopped,
                    "num_tokens": made.num_tokens,
                    "tokens_per_second": round(rate, 1),
                }
            )
        else:
            sys.stdout.write(made.text + "\n")


@app.command(help=_t(say("A conversation in the terminal.")))
def chat(
    run_folder: RunArgument = DEFAULT_RUN,
    base: Annotated[bool, typer.Option("--base", help=_t(say("answer without the adapter, to compare")))] = False,
    system: SystemOption = None,
) -> None:
    """`nuguna chat`."""
    _, screen = _screen(None, False)
    with _errors(screen):
        from .ui.talk import talk

        talk(Path(run_folder), base, system, screen)


@app.command(help=_t(say("BLEU, ROUGE and chrF of a file of predictions and references, right in Korean too.")))
def score(
    file: Annotated[
        str, typer.Argument(metavar="FILE", help=_t(say("a table with both columns, or a text file of predictions")))
    ],
    references: Annotated[
        str | None, typer.Argument(metavar="[REFERENCES]", help=_t(say("a text file with the right answer in each line")))
    ] = None,
    columns: Annotated[
        str | None, typer.Option("--columns", metavar="PREDICTION,REFERENCE", help=_t(say("names of the two columns")))
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """`nuguna score`."""
    _, screen = _screen(None, as_json)
    with _errors(screen, as_json):
        from .metrics.compared import all_scored
        from .metrics.scores import compare, signatures
        from .metrics.split import find_tokenization
        from .pairs import read_pairs
        from .settings import split_columns
        from .ui.score_view import show_scores

        wish = split_columns(columns) if columns else ()
        pairs = read_pairs(Path(file), Path(references) if references else None, wish)
        way = find_tokenization(pairs.references)
        found = all_scored(compare(pairs.predictions, pairs.references, way))
        if as_json:
            own = {"num_pairs": len(pairs.predictions), "tokenization": way.name, "signatures": signatures(way)}
            _print_json({**own, **{name: one.to_json() for name, one in found.items()}})
        else:
            show_scores(found, way.name, len(pairs.predictions), screen)


def _asking(request: Request, screen: Screen, as_json: bool, action: Callable[[Request], T]) -> T:
    """Do something with the data; where its columns are not clear, ask who sits at the terminal, and do it again."""
    from .data.dataset import UnclearColumnsError
    from .ui.columns import ask_columns, can_ask

    try:
        return action(request)
    except UnclearColumnsError as error:
        chosen = None if as_json or not can_ask() else ask_columns(error, screen)
        if chosen is None:
            raise
        return action(replace(request, data_columns=chosen))


def _request(flags: dict[str, Any], plan_file: str | None) -> tuple[Request, dict[str, Any]]:
    """The user's wishes from flags, environment and plan file, and what only a plan file can say."""
    if plan_file is None:
        return gather(flags, os.environ, {}), {}
    from .planfile import read_plan, split_edited

    wishes, edited = split_edited(read_plan(Path(plan_file)))
    return gather(flags, os.environ, wishes), edited


def _screen(wish: str | None, as_json: bool, log: bool = False) -> tuple[str, Screen]:
    """The chosen language and a screen in it; with --json, words for people go to standard error."""
    from rich.console import Console

    from .ui.logfile import LogFile
    from .ui.screen import Screen

    lang = choose_language((wish or os.environ.get("NUGUNA_LANG", "")).lower(), os.environ)
    console = Console(stderr=as_json, highlight=False, emoji=False)
    return lang, Screen(console, translator(lang), LogFile(Path.cwd()) if log else None, program())


class _errors:  # noqa: N801 - a context manager, read as a word
    """Turns our errors into their sentences and exit codes; a fault of the program keeps its traceback in the log alone."""

    def __init__(self, screen: Screen, as_json: bool = False) -> None:
        self.screen, self.as_json = screen, as_json

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if error is None or isinstance(error, (typer.Exit, SystemExit)):
            self.screen.close()
            return
        if isinstance(error, KeyboardInterrupt):
            error = Interrupted(say("Stopped by you."), fix=say("Start the same command again whenever you like."))
        if isinstance(error, NugunaError):
            if self.as_json:
                _print_json(_error_json(error))
            self.screen.error(error)
            self.screen.close(keep_log=not isinstance(error, UserError))
            raise typer.Exit(error.exit_code)
        self.screen.fault(error)
        self.screen.close()
        raise typer.Exit(1)


def _error_json(error: NugunaError) -> dict[str, Any]:
    """What a program that waits for a document gets instead: the same three sentences, in English."""
    parts = {"what": str(error.what), "seen": "" if error.seen is None else str(error.seen), "fix": str(error.fix)}
    return {"status": "refused" if isinstance(error, UserError) else "failed", "error": {"kind": type(error).__name__, **parts}}


def _misunderstood(words: list[str], reason: str) -> SettingError:
    """`reason` is typer's own English sentence; who reads another language sees what was typed instead."""
    commands = [command.callback.__name__ for command in app.registered_commands if command.callback]
    chosen = [word for word in words[:1] if word in commands]
    return SettingError(
        say("This command line was not understood."),
        seen=say("{reason}", reason=reason) if reason else say("You typed: {words}", words=" ".join(["nuguna", *words])),
        fix=say("See what there is: {command}", command=" ".join(["nuguna", *chosen, "--help"])),
    )


def program() -> str:
    """How the user can call us: `nuguna` when it is on the PATH, else the path from here."""
    if shutil.which("nuguna"):
        return "nuguna"
    path = Path(sys.argv[0])
    try:
        return os.path.relpath(path) if path.name.startswith("nuguna") else "nuguna"
    except ValueError:  # another drive on Windows
        return str(path)


def _print_json(document: Any) -> None:
    sys.stdout.write(json.dumps(document, ensure_ascii=False, indent=2) + "\n")


def _version(wanted: bool) -> None:
    if wanted:
        sys.stdout.write(f"nuguna {__version__}\n")
        raise typer.Exit


@app.callback()
def _main(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help=_t(say("print the version")))
    ] = False,
) -> None:
    """Options before a command."""


def main() -> None:
    """The program. A polite request to end (SIGTERM) is treated as Ctrl-C, so that a checkpoint is written."""

    def interrupt(signum: int, frame: object) -> None:
        raise KeyboardInterrupt

    prepare()
    signal.signal(signal.SIGTERM, interrupt)
    try:
        code = app(sys.argv[1:] or ["--help"], prog_name="nuguna", standalone_mode=False)
    except _CommandLineError as error:
        lang, screen = _screen(None, "--json" in sys.argv)
        screen.error(_misunderstood(sys.argv[1:], error.format_message() if lang == "en" else ""))
        sys.exit(SettingError.exit_code)
    sys.exit(code if isinstance(code, int) else 0)
