"""check, data, plan and train: from the machine and the data to a proven result."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import DataError
from ..message import say
from ..plan.settings import Request, gather
from ..text.language import translator
from .frame import (
    JsonFlag,
    PlanOption,
    app,
    asking,
    errors,
    open_screen,
    print_json,
    program,
    t,
    take_request,
    with_settings,
)

if TYPE_CHECKING:
    from ..plan.plan import Plan
    from ..report.outcome import Report
    from ..ui.screen import Screen


@app.command(help=t(say("Show what this machine is and what it can train.")))
def check(as_json: JsonFlag = False) -> None:
    """`nuguna check`."""
    from ..machine.hardware import detect

    lang, screen = open_screen(None, as_json)
    with errors(screen, as_json):
        hardware = detect(Path.cwd())
        if as_json:
            print_json(hardware.to_json())
        else:
            screen.hardware(hardware)


@app.command(
    help=t(
        say(
            "Show what would be done and why, and how much memory and time it takes. Trains nothing, writes "
            "plan.toml."
        )
    )
)
@with_settings
def plan(
    *,
    flags: dict[str, Any],
    plan_file: PlanOption = None,
    hardware: Annotated[
        str | None,
        typer.Option(
            "--hardware",
            metavar="FILE",
            help=t(say("plan for the machine described in this file (nuguna check --json)")),
        ),
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """`nuguna plan`."""
    lang, screen = open_screen(flags.get("lang"), as_json)
    with errors(screen, as_json):
        request, edited = take_request(flags, plan_file)
        lang, screen = open_screen(request.lang, as_json)
    with errors(screen, as_json):
        from ..machine.hardware import detect, read_hardware
        from ..plan.misfit import misfit
        from ..plan.plan_file import keep_older, write_plan
        from ..stages.read import read_data

        request, dataset = asking(
            request, screen, as_json, lambda asked: (asked, read_data(asked, screen.reading))
        )
        machine = read_hardware(Path(hardware)) if hardware else detect(Path.cwd())
        from ..stages.decide import decide

        made, _ = decide(request, machine, dataset, edited)
        _show_plan(made, screen, as_json)
        if (error := misfit(made)) is not None:
            screen.error(error)
            raise typer.Exit(error.exit_code)
        place = Path("plan.toml")
        if kept := keep_older(made, place, translator(lang)):
            screen.line(
                screen.t(say("The earlier plan was kept: {file} is now {kept}.", file=place, kept=kept))
            )
        write_plan(made, place, translator(lang))
        if not as_json:
            screen.line(
                screen.t(
                    say(
                        "Written to plan.toml. Train with it: {command}",
                        command=f"{program()} train --plan plan.toml",
                    )
                )
            )


def _show_plan(made: Plan, screen: Screen, as_json: bool) -> None:
    if as_json:
        print_json(made.to_json())
    else:
        screen.plan(made)


@app.command(help=t(say("Train a model: the whole job, from the data to a checked result.")))
@with_settings
def train(*, flags: dict[str, Any], plan_file: PlanOption = None, as_json: JsonFlag = False) -> None:
    """`nuguna train`."""
    lang, screen = open_screen(flags.get("lang"), as_json)
    with errors(screen, as_json):
        request, edited = take_request(flags, plan_file)
        lang, screen = open_screen(request.lang, as_json, log=True)
    with errors(screen, as_json):
        from ..run import run

        def run_it(asked: Request) -> Report:
            return run(asked, tell=screen, translate=translator(lang), lang=lang, edited=edited)

        report = asking(request, screen, as_json, run_it)
        if as_json:
            print_json(report.to_json())
    if report.status != "succeeded":
        raise typer.Exit(1)


@app.command(
    help=t(say("Show what is in a dataset, what is wrong with it, and which words the model learns."))
)
def data(
    source: Annotated[
        str, typer.Argument(metavar="FILE", help=t(say("a file, a folder, owner/name on the hub, or demo")))
    ],
    model: Annotated[
        str | None, typer.Option("--model", help=t(say("count tokens as this model does [demo]")))
    ] = None,
    max_seq_length: Annotated[
        str | None, typer.Option("--max-seq-length", help=t(say("longest example, in tokens")))
    ] = None,
    columns: Annotated[
        str | None, typer.Option("--data-columns", help=t(say("QUESTION,ANSWER or one column of plain text")))
    ] = None,
    fix: Annotated[
        str | None,
        typer.Option(
            "--fix", metavar="OUT.jsonl", help=t(say("write a clean copy, and a list of what was changed"))
        ),
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """`nuguna data`."""
    flags = {"data": source, "model": model, "max_seq_length": max_seq_length, "data_columns": columns}
    _, screen = open_screen(None, as_json)
    with errors(screen):
        request = gather(flags, os.environ, {})
        from ..jobs.inspect import fix_data, inspect_data, refusal_json
        from ..ui.data_view import show, show_mended

        try:
            request, (found, name) = asking(
                request, screen, as_json, lambda asked: (asked, inspect_data(asked, screen.reading))
            )
        except DataError as error:
            if as_json:
                print_json(refusal_json(error))
            raise
        if as_json:
            print_json(found.to_json())
        else:
            show(found, screen, model=name, request=request)
        if fix is not None:
            show_mended(fix_data(found, Path(fix), screen.t), screen)
    if found.reason is not None and fix is None:
        raise typer.Exit(DataError.exit_code)
