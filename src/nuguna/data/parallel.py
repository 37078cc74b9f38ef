"""Large files with one JSON object a line, read by several processes.

The lines go to processes of our own in chunks, and their conversations come back in the same order, as the
lines that a shelf holds. A process that cannot be started or ends early costs time and nothing else: its
chunk is read here.

They are not those of `multiprocessing`, which run the user's own script again in each process where it has no
guard for that.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
from array import array
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import IO, Any

from .conversation_store import written_line
from .conversations.shape import RowShape
from .conversations.turns import to_conversation
from .counts import RowCounts
from .files.json_rows import parse_jsonl
from .files.rows import BadRow, Row

CHUNK_CHARS = 2**21  # some thousands of rows, a fifth of a second
MAX_PROCESSES = 4
_COMMAND = "from nuguna.data.parallel import serve; serve()"
_ERRORS = "surrogatepass"  # damaged bytes are halves of characters within the program


@dataclass(frozen=True)
class Chunk:
    """Lines of a file, each with its end."""

    text: str
    file: str
    first_line: int

    def rows(self) -> Iterator[Row | BadRow]:
        """As `parse_jsonl` gives them."""
        return parse_jsonl((line + "\n" for line in self.text.split("\n")), self.file, self.first_line)


@dataclass(frozen=True)
class Known:
    """What has been learned of a table so far: how its rows are read, and the columns that this covers."""

    shape: RowShape
    columns: frozenset[str]


@dataclass(frozen=True)
class Found:
    """What a chunk holds: what was counted, and each conversation as a shelf writes it."""

    counts: RowCounts
    lines: bytes
    sizes: array[int]  # bytes of each of `lines`


def chunks_of(lines: Iterable[str], file: str) -> Iterator[Chunk]:
    """Yield all lines of a file, some thousands at a time."""
    held: list[str] = []
    size, first = 0, 1
    for line in lines:
        held.append(line if line.endswith("\n") else line + "\n")
        size += len(line)
        if size >= CHUNK_CHARS:
            yield Chunk("".join(held), file, first)
            held, size, first = [], 0, first + len(held)
    if held:
        yield Chunk("".join(held), file, first)


def num_processes() -> int:
    """Return how many are worth starting: one for each core, 0 where there is but one."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(MAX_PROCESSES, cores) if cores > 1 and sys.executable else 0


def read_chunks(
    chunks: Iterable[Chunk], known: Callable[[], Known], num_processes: int
) -> Iterator[tuple[Chunk, Found | None]]:
    """Yield every chunk in order with what was found in it; None if it has to be read here: it holds columns
    that are not `known`.

    `known` is asked again for each chunk: the caller learns on the way.
    """
    waiting: deque[tuple[Chunk, Known, Future[Found | None]]] = deque()
    with _running(num_processes) as ask:
        for chunk in chunks:
            if len(waiting) == 2 * num_processes:
                yield _taken(*waiting.popleft(), known())
            now = known()
            waiting.append((chunk, now, ask(chunk, now)))
        while waiting:
            yield _taken(*waiting.popleft(), known())


def _taken(
    chunk: Chunk, before: Known, answer: Future[Found | None], now: Known
) -> tuple[Chunk, Found | None]:
    try:
        found = answer.result()
    except (OSError, EOFError, ValueError, KeyError):  # the process is gone
        found = None
    return chunk, found if before.shape == now.shape else None


@contextlib.contextmanager
def _running(count: int) -> Iterator[Callable[[Chunk, Known], Future[Found | None]]]:
    """Processes that read chunks; each answers one question at a time."""
    processes = [_start() for _ in range(count)]
    idle: queue.Queue[subprocess.Popen[bytes] | None] = queue.Queue()
    for process in processes:
        idle.put(process)

    def ask(chunk: Chunk, known: Known) -> Found | None:
        process = idle.get()
        try:
            return None if process is None else _asked(process, chunk, known)
        finally:
            idle.put(process)

    pool = ThreadPoolExecutor(max_workers=count)
    try:
        yield lambda chunk, known: pool.submit(ask, chunk, known)
    finally:
        for process in filter(None, processes):
            process.kill()  # it keeps nothing
        pool.shutdown(cancel_futures=True)
        for process in filter(None, processes):
            process.communicate()


def _start() -> subprocess.Popen[bytes] | None:
    # nothing is imported from the folder in which the user stands
    environment = {**os.environ, "PYTHONSAFEPATH": "1"}
    pipe, nowhere = subprocess.PIPE, subprocess.DEVNULL
    try:
        return subprocess.Popen(
            [sys.executable, "-c", _COMMAND], stdin=pipe, stdout=pipe, stderr=nowhere, env=environment
        )
    except OSError:
        return None


def _asked(process: subprocess.Popen[bytes], chunk: Chunk, known: Known) -> Found | None:
    assert process.stdin is not None and process.stdout is not None
    question = {
        "file": chunk.file,
        "first_line": chunk.first_line,
        "shape": known.shape.to_json(),
        "columns": [*known.columns],
    }
    _send(process.stdin, question, chunk.text.encode(errors=_ERRORS))
    facts, blobs = _received(process.stdout)
    if not blobs:
        return None
    counts = RowCounts()
    *keys, sizes = (_numbers(blob) for blob in blobs[1:])
    counts.set_to(facts, dict(zip(counts.arrays(), keys, strict=True)))
    return Found(counts, blobs[0], sizes)


def serve() -> None:
    """Read chunks until the other side is gone; the whole life of such a process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the one that asked
    source, target = sys.stdin.buffer, sys.stdout.buffer
    with contextlib.suppress(EOFError, BrokenPipeError):
        while True:
            question, (text,) = _received(source)
            known = Known(RowShape.from_json(question["shape"]), frozenset(question["columns"]))
            found = read_chunk(
                Chunk(text.decode(errors=_ERRORS), question["file"], question["first_line"]), known
            )
            if found is None:
                _send(target, {})
            else:
                arrays = [*found.counts.arrays().values(), found.sizes]
                _send(target, found.counts.to_json(), found.lines, *(numbers.tobytes() for numbers in arrays))


def read_chunk(chunk: Chunk, known: Known) -> Found | None:
    """Return what a chunk holds; None if it has a column that is not known."""
    counts, lines = RowCounts(), []
    for row in chunk.rows():
        counts.num_rows += 1
        if isinstance(row, Row) and not row.values.keys() <= known.columns:
            return None
        made = to_conversation(row, known.shape) if isinstance(row, Row) else row
        if isinstance(made, BadRow):
            counts.leave_out(made)
        else:
            counts.take(made)
            lines.append(written_line(made))
    return Found(counts, b"".join(lines), array("Q", map(len, lines)))


def _send(stream: IO[bytes], facts: dict[str, Any], *blobs: bytes) -> None:
    """A line of JSON, then the blobs, whose sizes it tells."""
    stream.write(json.dumps([facts, [len(blob) for blob in blobs]]).encode() + b"\n")
    for blob in blobs:
        stream.write(blob)
    stream.flush()


def _received(stream: IO[bytes]) -> tuple[dict[str, Any], list[bytes]]:
    """Return what `_send` sent. Raises `EOFError` when the other side is gone."""
    line = stream.readline()
    if not line.endswith(b"\n"):
        raise EOFError
    facts, sizes = json.loads(line)
    blobs = [stream.read(size) for size in sizes]
    if [len(blob) for blob in blobs] != sizes:
        raise EOFError
    return facts, blobs


def _numbers(blob: bytes) -> array[int]:
    made = array("Q")
    made.frombytes(blob)
    return made
