"""A run on the screen: a live bar on a terminal, plain lines anywhere else, and everything in the log."""

from __future__ import annotations

import time
import traceback
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskID, TextColumn
from rich.table import Table
from rich.text import Text

from ..errors import NugunaError
from ..machine.hardware import Hardware
from ..measure.compared import Compared
from ..message import Message, say
from ..plan.plan import Plan
from ..prove.check import label_of
from ..stages.events import (
    Downloading,
    Event,
    Finished,
    Note,
    Planned,
    Proved,
    RowsRead,
    Saved,
    Scored,
    Stage,
    Stepped,
)
from ..text.language import Translate, translator
from ..text.redaction import redact
from ..text.units import format_bytes, format_seconds
from .labels import error_lines, hardware_rows, plan_rows, plan_summary, step_line
from .logfile import LogFile
from .plan_view import larger_lines, memory_picture, time_line
from .remaining import Remaining
from .tables import compared_rows, compared_table, loss_curve

if TYPE_CHECKING:
    from ..prove.check import Check
    from ..train.loop import Step

READING_SECONDS = 10.0  # between two lines about a long reading
PLAIN_LINES = 20  # about how many progress lines a run prints that is not on a terminal


class SafeConsole(Console):
    """rich's console without passwords and keys: what stands in cells of tables and in titles comes through
    here.
    """

    def render_str(self, text: str, **options: Any) -> Text:
        """As rich's, of the text as it may be shown."""
        return super().render_str(redact(text), **options)


class Screen:
    """Shows events as they come. `log` is None for commands that keep no log."""

    def __init__(
        self, console: Console, translate: Translate, log: LogFile | None = None, program: str = "nuguna"
    ) -> None:
        self.console, self._translate, self._log, self._program = console, translate, log, program
        self._bar: Progress | None = None
        self._task: TaskID | None = None
        self._last_read = time.monotonic()
        self._remaining: Remaining | None = None

    def __call__(self, event: Event) -> None:
        """Show one event."""
        if not isinstance(event, (Stepped, Saved, Downloading, RowsRead)):
            self.end_bar()
        match event:
            case Stage(message):
                self.line(f"{self.mark('▸', '*')} {self.t(message)}", style="bold")
            case Note(message):
                self.line(f"  {self.t(message)}")
            case Planned(plan, hardware):
                self._planned(plan, hardware)
            case Stepped(step):
                self._stepped(step)
            case RowsRead() | Downloading() | Saved():
                self._aside(event)
            case Scored():
                self._scored(event)
            case Proved(checks):
                for check in checks:
                    self._check(check)
            case Finished():
                self._finished(event)

    def t(self, message: Message) -> str:
        """Return a sentence in the user's language, as it may be shown: passwords and keys in what it tells
        are taken out.
        """
        return redact(self._translate(message))

    def line(self, text: str, style: str = "") -> None:
        """One line on the screen and in the log."""
        text = redact(text)
        self.console.print(Text(text, style=style), soft_wrap=True)
        if self._log:
            self._log.write(text)

    def error(self, error: NugunaError) -> None:
        """An error in its three parts."""
        self.end_bar()
        for number, text in enumerate(error_lines(error, self.t)):
            indented = text.replace("\n", "\n  ")
            self.line(
                f"{self.mark('✗', 'x')} {text}" if number == 0 else f"  {indented}",
                style="bold red" if number == 0 else "",
            )

    def fault(self, error: BaseException) -> None:
        """A fault of the program: one sentence here, the whole trace in the log (on the screen when there is
        no log).
        """
        self.end_bar()
        trace = redact("".join(traceback.format_exception(error)))
        what = say("Something broke inside nuguna: {reason}", reason=error)
        self.line(f"{self.mark('✗', 'x')} {self.t(what)}", style="bold red")
        if self._log:
            self._log.write(trace)
            self.line("  → " + self.t(say("Please report it with this file: {file}", file=self._log.path)))
        else:
            self.console.print(Text(trace))

    def plan(self, plan: Plan) -> None:
        """The whole plan as a table."""
        table = Table(box=None, pad_edge=False, header_style="bold")
        for title in (say("setting"), say("value"), say("why"), say("who decided")):
            table.add_column(self.t(title), overflow="fold")
        for row in plan_rows(plan, self.t):
            table.add_row(*(escape(cell) for cell in row))
        self.console.print(table)
        self.line("")
        picture = Table(box=None, pad_edge=False, show_header=False)
        for name, bar, size in memory_picture(plan, self.t, self.mark):
            picture.add_row(name, Text(bar, no_wrap=True), Text(size, justify="right"))
        self.console.print(picture)
        for message in (plan_summary(plan), time_line(plan), *larger_lines(plan)):
            self.line(self.t(message))

    def hardware(self, hardware: Hardware) -> None:
        """The machine as a table, and what is wrong with it."""
        table = Table(box=None, pad_edge=False, show_header=False)
        for row in hardware_rows(hardware, self.t):
            table.add_row(*(escape(cell) for cell in row))
        self.console.print(table)
        for problem in hardware.problems:
            self.line(f"{self.mark('⚠', '!')} {self.t(problem.what)}", style="yellow")
            self.line(f"  → {self.t(problem.fix)}")

    def mark(self, sign: str, plain: str) -> str:
        """Return a sign where the terminal can show it, else its plain stand-in."""
        try:
            sign.encode(self.console.encoding or "ascii")
        except UnicodeEncodeError:
            return plain
        return sign

    def close(self, *, keep_log: bool = True) -> None:
        """End bars and the log."""
        self.end_bar()
        if self._log:
            self._log.close(keep=keep_log)

    def _planned(self, plan: Plan, hardware: Hardware) -> None:
        self._remaining = Remaining(plan.time, plan.max_steps.value)
        shown = ("model", "data", "max_steps", "batch_size", "learning_rate", "device", "dtype", "output_dir")
        rows = dict(zip(plan.choices(), plan_rows(plan, self.t), strict=True))
        for name in shown:
            setting, value, reason, _ = rows[name]
            self.line(f"  {setting}: {value}  ({reason})")
        self.line(f"  {self.t(plan_summary(plan))}")
        for problem in hardware.problems:
            self.line(
                f"  {self.mark('⚠', '!')} {self.t(problem.what)} → {self.t(problem.fix)}", style="yellow"
            )

    def _stepped(self, step: Step) -> None:
        left = self._remaining.after(step) if self._remaining else 0.0
        if self._remaining and (correction := self._remaining.correction(step)):
            self.line("  " + self.t(correction))
        text = self.t(step_line(step, left))
        if self._log:
            self._log.write(text)
        if not self.console.is_terminal:
            every = max(1, step.max_steps // PLAIN_LINES)
            if step.step % every == 0 or step.step in (1, step.max_steps) or step.loss is None:
                self.console.print(Text("  " + text), soft_wrap=True)
            return
        self._show_bar(step.step, step.max_steps, text)

    def reading(self, num_rows: int) -> None:
        """So many rows were read: on a terminal the line is written over, elsewhere one is enough from time
        to time.
        """
        text = self.t(say("{count} rows read …", count=f"{num_rows:,}"))
        if self.console.is_terminal:
            self._show_bar(0, None, text)
        elif time.monotonic() > self._last_read + READING_SECONDS:
            self._last_read = time.monotonic()
            self.line("  " + text)

    def _aside(self, event: RowsRead | Downloading | Saved) -> None:
        if isinstance(event, Saved):
            if self._log:
                self._log.write(self.t(say("checkpoint: step {step} is saved", step=event.step)))
        elif isinstance(event, RowsRead):
            self.reading(event.num_rows)
        elif self.console.is_terminal:
            self._show_bar(
                event.done, event.total, f"{format_bytes(event.done)} / {format_bytes(event.total)}"
            )

    def _show_bar(self, done: int, total: int | None, text: str) -> None:
        if self._bar is None:
            self._bar = Progress(
                BarColumn(bar_width=24),
                TextColumn("{task.description}"),
                console=self.console,
                transient=True,
            )
            self._task = self._bar.add_task("", total=total)
            self._bar.start()
        if self._task is not None:
            self._bar.update(self._task, completed=done, total=total, description=escape(text))

    def end_bar(self) -> None:
        """What was written over stands now."""
        if self._bar is not None:
            self._bar.stop()
            last = self._bar.tasks[0].description if self._bar.tasks else ""
            self._bar = self._task = None
            self.console.print(Text("  " + last), soft_wrap=True)

    def _scored(self, event: Scored) -> None:
        plain = self.mark("█", "") == ""
        if curve := loss_curve([loss for _, loss in event.losses], plain=plain):
            self.line("  " + self.t(say("Training loss: {curve}", curve=curve)))
        title = (
            say("the same subjects, asked in new words")
            if event.unseen
            else say("questions held out from training")
        )
        self._table(title, event.scores)
        if event.unseen:
            self._table(say("subjects that were not in the training data"), event.unseen)

    def _table(self, title: Message, found: Compared) -> None:
        table = compared_table(found, self.t, before=say("before"), after=say("after"), only_main=True)
        table.title, table.title_justify = self.t(title), "left"
        self.console.print(table)
        if self._log:
            for row in compared_rows(found, self.t, only_main=True):
                self._log.write(f"{self.t(title)} - {row[0]}: {row[1]} → {row[2]} ({row[4]})")

    def _check(self, check: Check) -> None:
        sign = self.mark("✓", "ok") if check.passed else self.mark("✗", "x")
        self.line(
            f"  {sign} {self.t(label_of(check.name))}: {self.t(check.detail)}",
            style="" if check.passed else "bold red",
        )
        if not check.passed and check.fix is not None:
            self.line(f"    → {self.t(check.fix)}")

    def _finished(self, event: Finished) -> None:
        time = format_seconds(event.seconds)
        if not event.succeeded:
            self.line(
                self.t(
                    say("The run ended after {time}, but a check failed: see above what to try.", time=time)
                ),
                style="bold red",
            )
            return
        done = say("Done and checked in {time}. The result is in {folder}", time=time, folder=event.folder)
        self.line(f"{self.mark('🎉', '*')} {self.t(done)}", style="bold green")
        self.line("  " + self.t(say("Ask it: {command}", command=f'{self._program} ask {event.folder} "…"')))
        self.line("  " + self.t(say("Talk to it: {command}", command=f"{self._program} chat {event.folder}")))
        self.line("  " + self.t(say("See the whole report: {file}", file=event.folder / "report.html")))


def screen(lang: str = "en") -> Screen:
    """Return a screen on standard output, without a log file; `screen(lang).t` translates."""
    return Screen(SafeConsole(highlight=False, emoji=False), translator(lang))
