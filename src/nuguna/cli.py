"""The program: its commands in order, and what surrounds them."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from .commands import answering, measuring, training
from .commands.frame import CommandLineError, misunderstood, open_screen, t
from .commands.frame import app as app  # the commands, to be had with all of them in it
from .errors import Interrupted, SettingError
from .machine.process import prepare
from .message import say
from .version import __version__

ROOMS = (training, answering, measuring)  # importing them makes their commands known
# as `--help` lists them
ORDER = ("check", "plan", "train", "data", "ask", "chat", "evaluate", "compare", "score")
app.registered_commands.sort(
    key=lambda command: ORDER.index(command.callback.__name__ if command.callback else "")
)


def _version(wanted: bool) -> None:
    if wanted:
        sys.stdout.write(f"nuguna {__version__}\n")
        raise typer.Exit


@app.callback()
def _main(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help=t(say("print the version")))
    ] = False,
) -> None:
    """Options before a command."""


def main() -> None:
    """The program."""
    prepare()
    try:
        code = app(sys.argv[1:] or ["--help"], prog_name="nuguna", standalone_mode=False)
    except CommandLineError as error:
        lang, screen = open_screen(None, "--json" in sys.argv)
        screen.error(misunderstood(sys.argv[1:], error.format_message() if lang == "en" else ""))
        sys.exit(SettingError.exit_code)
    except KeyboardInterrupt:  # before a command began
        sys.exit(Interrupted.exit_code)
    sys.exit(code if isinstance(code, int) else 0)
