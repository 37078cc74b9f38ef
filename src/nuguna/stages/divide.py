"""Encode what the run will see, and set apart what is only measured."""

from __future__ import annotations

from collections.abc import Iterator

from ..data.dataset import Dataset
from ..disk.run_folder import BAD_ROWS
from ..errors import DataError
from ..message import Message, say
from ..model.load import Loaded
from ..plan.plan import Plan
from ..tokens.cache import Chosen, choose_or_recall
from ..tokens.choose import MAX_LEFT_OUT, SplitRules, encode_pairs, require_apart
from ..tokens.parts import Parts
from ..tokens.template import is_date_fixed, with_thinking
from .events import Note, Tell


def divide(loaded: Loaded, dataset: Dataset, plan: Plan, tell: Tell) -> Parts:
    """Encode what the run will see and set apart what is only measured. Raises `DataError` when too little
    can be trained.
    """
    tokenizer, length = loaded.tokenizer, plan.max_seq_length.value
    if dataset.has_reasoning:
        tokenizer.chat_template = with_thinking(tokenizer.chat_template, is_on=True)
    num_heldout = plan.heldout_examples.value
    rules = SplitRules(num_heldout, plan.max_steps.value * plan.batch_size.value, length, plan.seed.value)
    chosen = choose_or_recall(tokenizer, dataset, rules, loaded.eos_ids)
    _require_enough(chosen, dataset, length)
    for note in _what_became(chosen, dataset, length):
        tell(Note(note))
    heldout = chosen.drawn.heldout
    require_apart(chosen.train, heldout)
    unseen = encode_pairs(tokenizer, dataset.unseen, length, loaded.eos_ids, num_heldout)
    if dataset.system:
        tell(
            Note(
                say(
                    "All conversations begin with the same system prompt; nuguna ask and nuguna chat will "
                    "send it too."
                )
            )
        )
    if is_date_fixed(tokenizer.chat_template):
        tell(
            Note(
                say(
                    "The chat template writes today's date; it is fixed to one day, so that later questions "
                    "look as in training."
                )
            )
        )
    if not loaded.shortcuts.packed:
        tell(
            Note(
                say("This kind of model needs examples padded to one length, so training is somewhat slower.")
            )
        )
    return Parts(
        train=chosen.train,
        heldout=tuple(c for c, _ in heldout),
        heldout_encoded=tuple(e for _, e in heldout),
        unseen=tuple(c for c, _ in unseen),
        unseen_encoded=tuple(e for _, e in unseen),
        system=dataset.system,
    )


def _require_enough(chosen: Chosen, dataset: Dataset, length: int) -> None:
    counts, refusal = chosen.drawn.counts, chosen.drawn.first_refusal
    if chosen.train and counts.num_too_long + counts.num_refused <= MAX_LEFT_OUT * counts.num_rows:
        return
    if refusal is not None and counts.num_refused >= counts.num_too_long:
        raise refusal
    raise DataError(
        say(
            "Too few rows can be trained on: {usable} of {total}.",
            usable=len(chosen.train),
            total=counts.num_rows,
        ),
        seen=say("In the others the answer alone is longer than {length} tokens.", length=length),
        fix=say("Allow longer examples: MAX_SEQ_LENGTH={length} ./run.sh", length=2 * length),
    )


def _what_became(chosen: Chosen, dataset: Dataset, length: int) -> Iterator[Message]:
    """Yield every row accounted for, in sentences."""
    drawn = chosen.drawn
    counts = drawn.counts
    held = 0 if dataset.heldout else len(drawn.heldout)
    parts = {"total": f"{dataset.num_rows:,}", "train": f"{len(chosen.train):,}", "held": f"{held:,}"}
    yield say("{total} rows: {train} examples to train on, {held} only for measuring.", **parts)
    if dataset.num_bad:
        yield say(
            "{count} rows are broken and left out; {file} lists them.",
            count=f"{dataset.num_bad:,}",
            file=BAD_ROWS,
        )
    if counts.num_too_long:
        yield say(
            "{count} rows are left out: their answers alone are longer than {length} tokens "
            "(MAX_SEQ_LENGTH={more} keeps more).",
            count=f"{counts.num_too_long:,}",
            length=length,
            more=2 * length,
        )
    if counts.num_cut:
        yield say(
            "{count} examples are longer than {length} tokens: their beginning is left out, their answers "
            "are whole.",
            count=f"{counts.num_cut:,}",
            length=length,
        )
    if counts.num_refused and drawn.first_refusal is not None:
        yield say(
            "{count} rows are left out: {reason}",
            count=f"{counts.num_refused:,}",
            reason=drawn.first_refusal.what,
        )
    if counts.num_alike:
        yield say(
            "{count} rows are left out: they ask nearly the same as one used for measuring.",
            count=f"{counts.num_alike:,}",
        )
    if drawn.num_left:
        yield say("{count} rows are not needed for this many steps.", count=f"{drawn.num_left:,}")
    yield from drawn.notes
