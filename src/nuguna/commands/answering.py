"""ask and chat: questions to a finished run."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from ..message import say
from .frame import DEFAULT_RUN, JsonFlag, RunArgument, SystemOption, app, errors, open_screen, print_json, t


@app.command(help=t(say("Ask a finished run one question.")))
def ask(
    words: Annotated[
        list[str],
        typer.Argument(metavar="[RUN] QUESTION", help=t(say("folder of a finished run, and the question"))),
    ],
    base: Annotated[
        bool, typer.Option("--base", help=t(say("answer without the adapter, to compare")))
    ] = False,
    system: SystemOption = None,
    as_json: JsonFlag = False,
) -> None:
    """`nuguna ask`."""
    _, screen = open_screen(None, as_json)
    run_folder, question = (words[0], " ".join(words[1:])) if len(words) > 1 else (DEFAULT_RUN, words[0])
    with errors(screen, as_json):
        from ..jobs.chat import open_session

        session = open_session(Path(run_folder), use_base=base, system=system)
        made = session.ask(question)
        if as_json:
            rate = made.num_tokens / made.seconds if made.seconds else 0.0
            print_json(
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


@app.command(help=t(say("Chat with a finished run in the terminal.")))
def chat(
    run_folder: RunArgument = DEFAULT_RUN,
    base: Annotated[
        bool, typer.Option("--base", help=t(say("answer without the adapter, to compare")))
    ] = False,
    system: SystemOption = None,
) -> None:
    """`nuguna chat`."""
    _, screen = open_screen(None, False)
    with errors(screen):
        from ..ui.talk import talk

        talk(Path(run_folder), base, system, screen)
