"""What `nuguna data` found, on the screen."""

from __future__ import annotations

import shlex

from rich.markup import escape
from rich.table import Table
from rich.text import Text

from ..data.dataset import NUM_SHOWN, listing
from ..data.doctor.findings import Finding
from ..data.doctor.mend import Fixed
from ..jobs.inspect import Diagnosis
from ..message import Message, say
from ..plan.settings import Request
from ..tokens.lengths import Lengths
from .screen import Screen

_BAR = 30  # signs of the longest bar
_MAX_CHARS = 600  # of an example
LANGUAGES = {
    "ko": say("Korean"),
    "en": say("English"),
    "ja": say("Japanese"),
    "zh": say("Chinese"),
    "ru": say("Russian"),
    "ar": say("Arabic"),
    "th": say("Thai"),
    "hi": say("Hindi"),
    "other": say("other"),
    "none": say("no letters"),
}


def show(found: Diagnosis, screen: Screen, *, model: str, request: Request) -> None:
    """Everything, the verdict last, where the eye is."""
    screen.end_bar()
    _facts(found, screen)
    _lengths(found.lengths, screen, model)
    _examples(found, screen)
    for finding in found.findings:
        _finding(finding, screen)
    if found.dataset.bad_rows:
        screen.line(screen.t(say("Broken rows:")), style="bold")
        for line in screen.t(listing(found.dataset.bad_rows)).splitlines():
            screen.line(f"  {line}")
        if (more := found.dataset.num_bad - NUM_SHOWN) > 0:
            screen.line("  " + screen.t(say("… and {count} more (all of them: --json)", count=f"{more:,}")))
    _verdict(found, screen, request)


def _facts(found: Diagnosis, screen: Screen) -> None:
    data, t = found.dataset, screen.t
    first = data.tables[0]
    kinds = ", ".join(dict.fromkeys(table.format.upper() for table in data.tables))
    encodings = ", ".join(dict.fromkeys(table.encoding for table in data.tables if table.encoding)) or "-"
    total = sum(found.languages.values()) or 1
    languages = ", ".join(
        f"{t(LANGUAGES[name])} {100 * count / total:.0f} %" for name, count in found.languages.most_common(3)
    )
    guessed = t(say("likely"))
    likely = "" if all(shape.is_certain for shape in data.shapes) else f" ({guessed})"
    rows = [
        (
            say("file"),
            first.name if len(data.tables) == 1 else t(say("{count} files", count=len(data.tables))),
        ),
        (say("format"), f"{kinds}, {encodings}"),
        (say("shape"), f"{data.shape}{likely}"),
        (say("rows"), t(_rows(found))),
        (say("turns"), f"{found.num_turns:,}"),
        (say("language of the answers"), languages or "-"),
    ]
    table = Table(box=None, pad_edge=False, show_header=False)
    for name, value in rows:
        table.add_row(escape(t(name)), escape(value))
    screen.console.print(table)
    megabytes, seconds = found.num_bytes / 1e6, max(found.seconds, 1e-3)
    speed = {"size": f"{megabytes:,.1f}", "seconds": f"{seconds:.1f}", "rate": f"{megabytes / seconds:,.0f}"}
    if megabytes >= 1:
        screen.line(screen.t(say("Read and checked {size} MB in {seconds} s ({rate} MB/s).", **speed)))
    for note in data.notes:
        screen.line(f"{screen.mark('ℹ', 'i')} {t(note)}")


def _rows(found: Diagnosis) -> Message:
    data = found.dataset
    if not data.num_unwanted:
        numbers = {
            "total": f"{data.num_rows:,}",
            "usable": f"{len(data.train):,}",
            "bad": f"{data.num_bad:,}",
        }
        return say("{total}: {usable} usable, {bad} broken", **numbers)
    return say(
        "{total}: {usable} usable, {bad} broken, {unwanted} not to be trained",
        total=f"{data.num_rows:,}",
        usable=f"{len(data.train):,}",
        bad=f"{data.num_bad:,}",
        unwanted=f"{data.num_unwanted:,}",
    )


def _lengths(lengths: Lengths, screen: Screen, model: str) -> None:
    if not lengths.tokens:
        return
    title = say("Tokens of an example (counted with the tokenizer of {model})", model=model)
    screen.line("")
    screen.line(screen.t(title), style="bold")
    histogram = lengths.histogram()
    most = max(count for _, _, count in histogram)
    bar = screen.mark("█", "#")
    for first, last, count in histogram:
        screen.line(f"  {first:>6,}-{last:<6,} {bar * -(-_BAR * count // most)} {count:,}")
    counts = lengths.counts
    kept = say("All of them fit into {length} tokens (MAX_SEQ_LENGTH).", length=lengths.max_length)
    if counts.num_cut or counts.num_too_long:
        kept = say(
            "Longer than {length} tokens (MAX_SEQ_LENGTH): {cut} lose their beginning, {left} are left out.",
            length=lengths.max_length,
            cut=f"{counts.num_cut:,}",
            left=f"{counts.num_too_long:,}",
        )
    screen.line("  " + screen.t(kept))
    if lengths.is_sample:
        screen.line("  " + screen.t(say("Counted on {count} of them.", count=f"{counts.num_rows:,}")))
    if counts.num_refused:
        screen.line(
            "  " + screen.t(say("{count} do not fit the chat template.", count=f"{counts.num_refused:,}"))
        )
        _why(lengths, screen)


def _why(lengths: Lengths, screen: Screen) -> None:
    """Why the chat template does not show some of them."""
    if lengths.refusal is not None:
        said = filter(None, (lengths.refusal.what, lengths.refusal.seen))
        screen.line("  " + " ".join(screen.t(part) for part in said))
        screen.line(f"  → {screen.t(lengths.refusal.fix)}")


def _examples(found: Diagnosis, screen: Screen) -> None:
    """Trained characters stand out by their style, and between marks where there is none."""
    if not found.examples:
        return
    screen.line("")
    left, right = screen.mark("⟦", "[["), screen.mark("⟧", "]]")
    title = say(
        "Examples as the model sees them; what it learns to say is between {left} and {right}",
        left=left,
        right=right,
    )
    screen.line(screen.t(title), style="bold")
    for number, example in enumerate(found.examples, 1):
        text, place = Text(f"  [{number}] "), 0
        for start, end in example.trained:
            text.append(_shortened(example.text[place:start]))
            text.append(left + _shortened(example.text[start:end]) + right, style="bold green")
            place = end
        text.append(_shortened(example.text[place:]))
        screen.console.print(text, soft_wrap=True)


def _shortened(text: str) -> str:
    """Line breaks shown as signs, so that an example is one paragraph; the middle of a long part left out."""
    half = _MAX_CHARS // 2
    text = text if len(text) <= _MAX_CHARS else f"{text[:half]} … {text[-half:]}"
    return text.replace("\n", "⏎")


def _finding(finding: Finding, screen: Screen) -> None:
    lines = ", ".join(f"{line}" for _, line in finding.places)
    place = {
        "what": finding.what,
        "count": f"{finding.count:,}",
        "file": finding.places[0][0],
        "lines": lines,
    }
    text = say("{what}: {count} ({file}, line {lines})", **place)
    if finding.count > len(finding.places):
        text = say("{what}: {count} (the first of them: {file}, line {lines})", **place)
    sample = f" «{screen.t(finding.sample)}»" if finding.sample else ""
    screen.line(f"{screen.mark('⚠', '!')} {screen.t(text)}{sample}", style="yellow")


def _verdict(found: Diagnosis, screen: Screen, request: Request) -> None:
    screen.line("")
    source = shlex.quote(found.dataset.source)
    if found.reason is not None:
        refused = say("Not ready: {reason}", reason=found.reason)
        screen.line(f"{screen.mark('✗', 'x')} {screen.t(refused)}", style="bold red")
        if not found.lengths.tokens:  # else it stands above
            _why(found.lengths, screen)
        if found.dataset.num_bad and found.dataset.train:
            command = f"nuguna data {source} --fix clean.jsonl"
            screen.line("  " + screen.t(say("Write a copy without them: {command}", command=command)))
        return
    trained = f"{found.lengths.num_trained:,}"
    ready = say(
        "Ready: {count} examples, {tokens} tokens to learn.",
        count=f"{found.lengths.num_usable:,}",
        tokens=trained,
    )
    screen.line(f"{screen.mark('✓', 'ok')} {screen.t(ready)}", style="bold green")
    columns = f"DATA_COLUMNS={shlex.quote(request.data_columns)} " if request.data_columns else ""
    screen.line("  " + screen.t(say("Train on it: {command}", command=f"{columns}DATASET={source} ./run.sh")))


def show_mended(mended: Fixed, screen: Screen) -> None:
    """What `--fix` wrote."""
    rows, changes = f"{mended.num_rows:,}", f"{mended.num_changes:,}"
    places = {"path": ", ".join(map(str, mended.paths)), "list": mended.changes_path}
    written = say(
        "Written: {path} with {rows} rows; {changes} changes are listed in {list}",
        rows=rows,
        changes=changes,
        **places,
    )
    screen.line(f"{screen.mark('✓', 'ok')} {screen.t(written)}", style="bold green")
    if len(mended.paths) > 1:
        advice = say(
            "Train on all of them: put them into a folder of their own, and type DATASET=FOLDER ./run.sh"
        )
    else:
        advice = say(
            "Train on it: {command}", command=f"DATASET={shlex.quote(str(mended.paths[0]))} ./run.sh"
        )
    screen.line("  " + screen.t(advice))
