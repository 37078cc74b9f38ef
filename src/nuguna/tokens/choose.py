"""Which examples are trained and which measured, and all of them as tokens.

What is drawn depends on what is said and on the seed, never on the order of the rows in the file. Examples
that ask the same, or nearly the same, stay on one side. Of a large dataset only as many are encoded as the
run will see.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from ..data.conversations.conversation import Conversation
from ..data.dataset import Dataset
from ..data.similar import Alike, beginnings, content_key, question_key, question_of
from ..errors import DataError
from ..message import Message, say
from .encode import Encoded, LaidOut, lay_out_many, mark_many
from .pieces import pieces
from .tokenizer_protocol import Tokenizer

AT_ONCE = 512  # conversations that are encoded together
NUM_LOOKED_AT = 2000  # rows by which is judged whether likeness says anything
# If more than this share is nearly the same as something measured, the set is made from a mould and likeness
# says nothing.
MAX_ALIKE = 0.2
# share of examples that may be too long or refused before it is the wrong data for the model
MAX_LEFT_OUT = 0.5
FEW = 20  # rows below which numbers say little

Pair = tuple[Conversation, Encoded]
# how many examples each row is, None if it asks what is measured; and all of these, with what became of them
_Chunk = tuple[list[int | None], Iterable[tuple[Conversation, Encoded | DataError]]]


@dataclass(frozen=True)
class SplitRules:
    """How to draw, as plain values."""

    num_heldout: int
    num_train: int  # examples that the run will see at most
    max_length: int
    seed: int


@dataclass
class ExampleCounts:
    """What became of the rows that were drawn for training."""

    num_rows: int = 0
    num_cut: int = 0
    num_too_long: int = 0
    num_refused: int = 0
    num_alike: int = 0

    def plus(self, other: ExampleCounts) -> ExampleCounts:
        """Return both together."""
        return ExampleCounts(**{name: value + getattr(other, name) for name, value in vars(self).items()})


@dataclass(frozen=True)
class Drawn:
    """Everything but the examples to train."""

    heldout: Sequence[Pair]
    num_left: int  # rows that the run has no time for
    counts: ExampleCounts
    notes: tuple[Message, ...]
    first_refusal: DataError | None  # why the template does not show some conversation


class _Measured:
    """What is only measured: its questions, and what is nearly the same, are not to be trained."""

    def __init__(self, heldout: Sequence[Pair], alike: Alike | None, *, knows_questions: bool) -> None:
        """Unless it `knows_questions`, training asks what is measured, for there are few questions; only
        answers differ.
        """
        self._keys = {question_key(conversation) for conversation, _ in heldout} if knows_questions else set()
        self._contents = {content_key(conversation) for conversation, _ in heldout}
        # the answers of its earlier rounds count in what is measured
        self._beginnings = {
            content_key(part) for conversation, _ in heldout for part in beginnings(conversation)
        }
        self._alike = alike

    def asks(self, conversation: Conversation) -> bool:
        """Return whether a conversation asks what is measured."""
        keys = [content_key(part) for part in beginnings(conversation)]
        if not self._contents.isdisjoint(keys):
            return True  # the same, or the same and more
        if keys[-1] in self._beginnings or question_key(conversation) in self._keys:
            return True
        return self._alike is not None and self._alike.finds(question_of(conversation))


class Encoding:
    """How conversations are encoded, what became of them, and why the first was refused."""

    def __init__(self, tokenizer: Tokenizer, max_length: int, eos_ids: frozenset[int]) -> None:
        self.tokenizer, self.max_length, self.eos_ids = tokenizer, max_length, eos_ids
        self.counts = ExampleCounts()
        self.first_refusal: DataError | None = None

    def usable(
        self, conversations: Iterable[Conversation], measured: _Measured | None = None
    ) -> Iterator[Pair]:
        """Yield those that can be trained, with their tokens; the others, and those like something measured,
        are counted.
        """
        for found, examples in self._chunks(iter(conversations), measured):
            made = iter(examples)
            for num_examples in found:
                self.counts.num_rows += 1
                if num_examples is None:
                    self.counts.num_alike += 1
                    continue
                yield from self._sorted_out(list(islice(made, num_examples)))

    def _chunks(self, rows: Iterator[Conversation], measured: _Measured | None) -> Iterator[_Chunk]:
        """Yield rows, some at a time. While the tokenizer, which needs no Python, works on one chunk, the
        next is laid out.
        """
        first = self._laid_out(rows, measured)
        yield self._marked(*first, first[1].token_ids(self.tokenizer))  # many want no more than this
        with ThreadPoolExecutor(max_workers=1) as pool:
            waiting: deque[tuple[list[int | None], LaidOut, Future[list[list[int]]]]] = deque()
            while (chunk := self._laid_out(rows, measured))[0]:
                waiting.append((*chunk, pool.submit(chunk[1].token_ids, self.tokenizer)))
                if len(waiting) > 1:
                    found, laid_out, token_ids = waiting.popleft()
                    yield self._marked(found, laid_out, token_ids.result())
            for found, laid_out, token_ids in waiting:
                yield self._marked(found, laid_out, token_ids.result())

    def _laid_out(
        self, rows: Iterator[Conversation], measured: _Measured | None
    ) -> tuple[list[int | None], LaidOut]:
        """Return how many examples each of the next rows is, None if it asks what is measured, and these in
        the template.
        """
        found = [
            None if measured is not None and measured.asks(row) else self._examples(row)
            for row in islice(rows, AT_ONCE)
        ]
        flat = [example for examples in found if examples is not None for example in examples]
        return [None if examples is None else len(examples) for examples in found], lay_out_many(
            self.tokenizer, flat
        )

    def _marked(self, found: list[int | None], laid_out: LaidOut, token_ids: list[list[int]]) -> _Chunk:
        made = mark_many(self.tokenizer, laid_out, token_ids, self.max_length, self.eos_ids)
        return found, zip(laid_out.conversations, made, strict=True)

    def _examples(self, row: Conversation) -> list[Conversation]:
        return list(pieces(self.tokenizer, row, self.max_length))

    def _sorted_out(self, pairs: Iterable[tuple[Conversation, Encoded | DataError]]) -> list[Pair]:
        """Return the examples of one row that can be trained; none where one is refused, so that no part of a
        row is lost unseen.
        """
        found: list[Pair] = []
        was_refused = False
        for conversation, example in pairs:
            if isinstance(example, DataError):
                was_refused = True
                self.first_refusal = self.first_refusal or example
            elif example.num_trained:
                found.append((conversation, example))
        if was_refused:
            self.counts.num_refused += 1
            return []
        if found:
            self.counts.num_cut += any(example.cut for _, example in found)
        else:
            self.counts.num_too_long += 1
        return found


def choose(
    tokenizer: Tokenizer,
    dataset: Dataset,
    rules: SplitRules,
    eos_ids: frozenset[int],
    take: Callable[[Encoded], None],
) -> Drawn:
    """Draw and encode; `take` receives the examples to train, one by one.

    What is measured is the dataset's own part for that, if it has one. A single example is both trained and
    measured: there is nothing else.
    """
    order, begins = _drawn(dataset, rules.seed)
    notes: list[Message] = []
    apart = Encoding(tokenizer, rules.max_length, eos_ids)
    heldout: list[Pair] = []
    rest = order
    if dataset.heldout:
        keys = np.frombuffer(dataset.heldout_keys, dtype=np.uint64)
        drawn = (dataset.heldout[row] for row in np.argsort(_mixed(keys, rules.seed), kind="stable").tolist())
        heldout = list(islice(apart.usable(drawn), rules.num_heldout))
    else:
        heldout, rest = _set_apart(apart, dataset, rules.num_heldout, order, begins)
        if not heldout and len(order) > 1:  # every question has very many answers
            each = np.arange(len(order))
            heldout, rest = _set_apart(apart, dataset, rules.num_heldout, order, each)
            notes.append(
                say(
                    "There are only a few different questions, so training and measuring share them; only "
                    "the answers differ."
                )
            )
    training = Encoding(tokenizer, rules.max_length, eos_ids)
    is_shared = _is_shared(dataset, order, rest)
    alike = None if is_shared else _alike(dataset, heldout, rest, notes)
    measured = _Measured(heldout, alike, knows_questions=not is_shared)
    found = training.usable((dataset.train[row] for row in rest.tolist()), measured)
    first: Pair | None = None
    for pair in islice(found, rules.num_train):
        first = first or pair
        take(pair[1])
    if not heldout and first:
        heldout = [first]
        notes.append(
            say(
                "There is only one example, used both for training and for measuring: this says nothing "
                "about new questions."
            )
        )
    if len(order) < FEW and not dataset.heldout:
        few = {"count": len(order), "held": len(heldout)}
        notes.append(say("There are only {count} rows: measuring on {held} of them says little.", **few))
    num_left = len(rest) - training.counts.num_rows
    counts = training.counts if dataset.heldout else training.counts.plus(apart.counts)
    return Drawn(heldout, num_left, counts, tuple(notes), training.first_refusal or apart.first_refusal)


def require_apart(train: Sequence[Encoded], heldout: Sequence[Pair]) -> None:
    """Raise `RuntimeError` if an example that is measured is among the trained ones: then every number would
    be too good.

    A set of one usable example is both, and the user was told.
    """
    measured = {encoded.ids.tobytes() for _, encoded in heldout if not encoded.cut}
    is_only_one = len(heldout) == 1 and len(train) > 0 and np.array_equal(train[0].ids, heldout[0][1].ids)
    if not is_only_one and any(example.ids.tobytes() in measured for example in train):
        raise RuntimeError("an example that is measured is among the trained ones")


def for_measuring(
    tokenizer: Tokenizer, dataset: Dataset, rules: SplitRules, eos_ids: frozenset[int], *, was_trained: bool
) -> list[Pair]:
    """Return what of a dataset a model is measured on: of data that it was trained on, what `choose` keeps
    out by these rules.

    Of data that a model never saw, its own part for measuring, else all of it, drawn by what is said.
    """
    if was_trained:
        return list(
            choose(tokenizer, dataset, replace(rules, num_train=0), eos_ids, lambda example: None).heldout
        )
    part, keys = (
        (dataset.heldout, dataset.heldout_keys) if dataset.heldout else (dataset.train, dataset.content_keys)
    )
    order = np.argsort(_mixed(np.frombuffer(keys, dtype=np.uint64), rules.seed), kind="stable").tolist()
    return encode_pairs(tokenizer, (part[row] for row in order), rules.max_length, eos_ids, rules.num_heldout)


def encode_pairs(
    tokenizer: Tokenizer,
    conversations: Iterable[Conversation],
    max_length: int,
    eos_ids: frozenset[int],
    num_most: int,
) -> list[Pair]:
    """Return the first of these conversations that fit, with their tokens."""
    return list(islice(Encoding(tokenizer, max_length, eos_ids).usable(conversations), num_most))


def _drawn(dataset: Dataset, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return (rows in the drawn order, where in it a new question begins): the same questions lie
    together.
    """
    questions = np.frombuffer(dataset.question_keys, dtype=np.uint64)
    contents = np.frombuffer(dataset.content_keys, dtype=np.uint64)
    # one instruction for all: the answers differ
    if len(questions) > 1 and (questions == questions[0]).all():
        questions = contents
    order = np.lexsort((_mixed(contents, seed), _mixed(questions, seed)))
    ordered = questions[order]
    begins = np.flatnonzero(np.concatenate(([True], ordered[1:] != ordered[:-1])))
    return order, begins


def _mixed(keys: NDArray[np.uint64], seed: int) -> NDArray[np.uint64]:
    """Other keys for each seed, as random as a hash (Steele et al., SplitMix64, OOPSLA 2014)."""
    with np.errstate(over="ignore"):
        x = keys + np.uint64((seed + 1) * 0x9E3779B97F4A7C15 % 2**64)
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        mixed: NDArray[np.uint64] = x ^ (x >> np.uint64(31))
    return mixed


def _set_apart(
    encoding: Encoding, dataset: Dataset, num_wanted: int, order: NDArray[np.int64], begins: NDArray[np.int64]
) -> tuple[list[Pair], NDArray[np.int64]]:
    """Return (what is measured, the rows that are left to train). Groups of one question go as a whole, very
    large ones are trained.

    Example: order [7, 2, 5, 0, 9] with begins [0, 2, 3] are three questions: rows 7 and 2 ask one, row 5
    another, rows 0 and 9 a third. Two are wanted: the first group gives both, and 5, 0 and 9 are trained.
    Were one wanted, the first group would be too large and row 5 would be measured.
    """
    heldout: list[Pair] = []
    is_held = np.zeros(len(order), dtype=bool)
    ends = np.append(begins[1:], len(order))
    wanted = min(num_wanted, len(order) - 1)
    for start, end in zip(begins.tolist(), ends.tolist(), strict=True):
        if len(heldout) >= wanted or end - start == len(order) or is_held.sum() + end - start >= len(order):
            break
        if end - start > max(1, wanted):
            continue
        found = list(encoding.usable(dataset.train[row] for row in order[start:end].tolist()))
        is_held[start:end] = True  # and what cannot be used, so that the rest is not full of it
        heldout += found
    return heldout, order[~is_held]


def _is_shared(dataset: Dataset, order: NDArray[np.int64], rest: NDArray[np.int64]) -> bool:
    """Return whether a question of a row that was set apart is asked by one that was not, since there are so
    few questions.
    """
    questions = np.frombuffer(dataset.question_keys, dtype=np.uint64)
    return bool(np.isin(questions[np.setdiff1d(order, rest)], questions[rest]).any())


def _alike(
    dataset: Dataset, heldout: Sequence[Pair], rest: NDArray[np.int64], notes: list[Message]
) -> Alike | None:
    """Return what finds rows too much like those that are measured; None where likeness says nothing."""
    if not heldout or not len(rest):
        return None
    looked_at = [question_of(dataset.train[row]) for row in rest[:NUM_LOOKED_AT].tolist()]
    alike = Alike([question_of(conversation) for conversation, _ in heldout], looked_at)
    if sum(map(alike.finds, looked_at)) > MAX_ALIKE * len(looked_at):
        notes.append(say("Most questions are very similar, so only identical ones were kept on one side."))
        return None
    return alike
