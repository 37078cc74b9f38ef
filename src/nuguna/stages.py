"""The stages of a run as `run` calls them: each takes plain values, does one thing and returns what the next one needs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from .catalog import BaseModel
from .checkpoint import Resumed
from .checks import Check
from .data.batch import micro_batch_tokens
from .data.cache import Chosen, choose_or_recall
from .data.choose import MOST_LEFT_OUT, Rules, encode_pairs, require_apart
from .data.conversation import Conversation, Turn
from .data.dataset import Dataset, describe
from .data.encode import Encoded
from .data.template import is_date_fixed, with_thinking
from .engine.forward import Shortcuts, find_shortcuts
from .engine.loss import CHUNK_BYTES
from .errors import DataError, EnvironmentFault
from .evaluate import Measured, measure, stop_chance
from .events import Downloading, Note, Saved, Stepped, Tell
from .hardware import Hardware
from .hardware_probe import memory_in_use
from .hub import candidates, fetch, free_cache_bytes
from .limits import Limits
from .message import Message, say
from .metrics.compared import Compared, compared
from .metrics.paired import each_question
from .model import (
    Loaded,
    attach_adapter,
    load_base,
    require_quantization,
    save_adapter,
)
from .plan import Choice, Plan, make_plan
from .report.outcome import NUM_FIRST, LoggedStep, Report, Sample
from .runfolder import BAD_ROWS, METRICS, REPORT
from .settings import Request
from .steplog import StepLog
from .surroundings import repeatable, tell_resumed, this_place
from .train import Recipe, Step, Trained, train
from .units import format_bytes

NUM_PROBES = 3  # questions whose logits are compared for the proofs
UNSEEN_ANSWERS = 32  # fewer than the main part: they are reported beside it, not judged


@dataclass(frozen=True)
class Parts:
    """The data as the run uses it; `heldout` and `unseen` are never trained on."""

    train: Sequence[Encoded]
    heldout: tuple[Conversation, ...]
    heldout_encoded: tuple[Encoded, ...]
    unseen: tuple[Conversation, ...]
    unseen_encoded: tuple[Encoded, ...]
    shortcuts: Shortcuts
    system: str  # said in every conversation, so `ask` and `chat` say it too

    @property
    def probes(self) -> list[tuple[Turn, ...]]:
        """The questions on which logits are compared."""
        return [c.prompt for c in self.heldout[:NUM_PROBES]]


@dataclass(frozen=True)
class MeasuredAll:
    """Measurements of one model on both held-out parts."""

    main: Measured
    unseen: Measured | None
    stop_chance: float | None


def decide(
    request: Request, hardware: Hardware, dataset: Dataset, edited: Mapping[str, Any] | None = None
) -> tuple[Plan, BaseModel]:
    """The plan, and the facts of the model that it names."""
    found = candidates(request.model or "auto")
    plan = make_plan(request, hardware, describe(dataset), found, edited)
    return plan, next((c for c in found if c.id == plan.model.value), found[0])


def bring(base: BaseModel, plan: Plan, tell: Tell) -> tuple[Path, Loaded]:
    """The base model's folder, downloaded if need be, and the model loaded from it."""
    require_quantization(plan.quantization.value, plan.device.value)
    if base.folder is None:
        tell(Note(say("{model} is downloaded once: {size}.", model=base.id, size=format_bytes(base.download_bytes))))
    place = fetch(base, free_disk_bytes=free_cache_bytes(), on_progress=lambda done, total: tell(Downloading(done, total)))
    return place, load_base(place, dtype=plan.dtype.value, device=plan.device.value, quantization=plan.quantization.value)


def divide(loaded: Loaded, dataset: Dataset, plan: Plan, tell: Tell) -> Parts:
    """Encode what the run will see and set apart what is only measured. Raises `DataError` when too little can be trained."""
    tokenizer, length = loaded.tokenizer, plan.max_seq_length.value
    if dataset.has_reasoning:
        tokenizer.chat_template = with_thinking(tokenizer.chat_template, is_on=True)
    num_heldout = plan.heldout_examples.value
    rules = Rules(num_heldout, plan.max_steps.value * plan.batch_size.value, length, plan.seed.value)
    chosen = choose_or_recall(tokenizer, dataset, rules, loaded.end_ids)
    _require_enough(chosen, dataset, length)
    for note in _what_became(chosen, dataset, length):
        tell(Note(note))
    heldout = chosen.drawn.heldout
    require_apart(chosen.train, heldout)
    unseen = encode_pairs(tokenizer, dataset.unseen, length, loaded.end_ids, num_heldout)
    shortcuts = find_shortcuts(loaded.model)
    if dataset.system:
        tell(Note(say("All conversations begin with the same system prompt; nuguna ask and nuguna chat will send it too.")))
    if is_date_fixed(tokenizer.chat_template):
        tell(Note(say("The chat template writes today's date; it is fixed to one day, so that later questions look as trained.")))
    if not shortcuts.packed:
        tell(Note(say("This kind of model needs examples padded to one length, so training is somewhat slower.")))
    return Parts(
        train=chosen.train,
        heldout=tuple(c for c, _ in heldout),
        heldout_encoded=tuple(e for _, e in heldout),
        unseen=tuple(c for c, _ in unseen),
        unseen_encoded=tuple(e for _, e in unseen),
        shortcuts=shortcuts,
        system=dataset.system,
    )


def _require_enough(chosen: Chosen, dataset: Dataset, length: int) -> None:
    counts, refusal = chosen.drawn.counts, chosen.drawn.first_refusal
    if chosen.train and counts.num_too_long + counts.num_refused <= MOST_LEFT_OUT * counts.num_rows:
        return
    if refusal is not None and counts.num_refused >= counts.num_too_long:
        raise refusal
    raise DataError(
        say("Too few rows can be trained on: {usable} of {total}.", usable=len(chosen.train), total=counts.num_rows),
        seen=say("In the others the answer alone is longer than {length} tokens.", length=length),
        fix=say("Let examples be longer: MAX_SEQ_LENGTH={length} ./run.sh", length=2 * length),
    )


def _what_became(chosen: Chosen, dataset: Dataset, length: int) -> Iterator[Message]:
    """Every row accounted for, in sentences."""
    drawn = chosen.drawn
    counts = drawn.counts
    held = 0 if dataset.heldout else len(drawn.heldout)
    parts = {"total": f"{dataset.num_rows:,}", "train": f"{len(chosen.train):,}", "held": f"{held:,}"}
    yield say("{total} rows: {train} examples to train, {held} only measured.", **parts)
    if dataset.num_bad:
        yield say("{count} rows are broken and left out; {file} names each.", count=f"{dataset.num_bad:,}", file=BAD_ROWS)
    if counts.num_too_long:
        yield say(
            "{count} rows are left out: their answers alone are longer than {length} tokens (MAX_SEQ_LENGTH={more} takes more).",
            count=f"{counts.num_too_long:,}",
            length=length,
            more=2 * length,
        )
    if counts.num_cut:
        yield say(
            "{count} examples are longer than {length} tokens: what was said first is left out, their answers are whole.",
            count=f"{counts.num_cut:,}",
            length=length,
        )
    if counts.num_refused and drawn.first_refusal is not None:
        yield say("{count} rows are left out: {reason}", count=f"{counts.num_refused:,}", reason=drawn.first_refusal.what)
    if counts.num_alike:
        yield say("{count} rows are left out: they ask nearly the same as one that is measured.", count=f"{counts.num_alike:,}")
    if drawn.num_left:
        yield say("{count} rows are not needed for so many steps.", count=f"{drawn.num_left:,}")
    yield from drawn.notes


def measure_all(loaded: Loaded, parts: Parts, plan: Plan, tell: Tell) -> MeasuredAll:
    """Loss and answers on the held-out parts."""
    size = plan.micro_batch_size.value

    def on_less(count: int) -> None:
        tell(Note(say("Memory was short while measuring: it goes on with less at once, and the numbers stay the same.")))

    def one(conversations: tuple[Conversation, ...], encoded: tuple[Encoded, ...], num_answers: int) -> Measured:
        return measure(
            loaded,
            conversations,
            encoded,
            num_answers=num_answers,
            batch_size=size,
            shortcuts=parts.shortcuts,
            cache_bytes=plan.answer_bytes,
            on_less=on_less,
        )

    main = one(parts.heldout, parts.heldout_encoded, len(parts.heldout))
    unseen = one(parts.unseen, parts.unseen_encoded, UNSEEN_ANSWERS) if parts.unseen else None
    return MeasuredAll(main, unseen, stop_chance(loaded, parts.heldout_encoded, size, parts.shortcuts, on_less))


def scores(before: MeasuredAll, after: MeasuredAll) -> tuple[Compared, Compared | None]:
    """Both measurements with intervals and differences: of the main questions, and of subjects that training does not contain."""
    main = compared(before.main.rows, after.main.rows, before.main.tokenization)
    if before.unseen is None or after.unseen is None:
        return main, None
    return main, compared(before.unseen.rows, after.unseen.rows, before.unseen.tokenization)


def attach(loaded: Loaded, base: BaseModel, plan: Plan) -> Loaded:
    """The same model with a fresh adapter. The config names the base as others can load it: its hub name, or its folder."""
    name = str(base.folder) if base.folder is not None and ("/" not in base.id or Path(base.id).is_dir()) else base.id
    model = attach_adapter(
        loaded.model,
        base_name=name,
        lora_r=plan.lora_r.value,
        lora_alpha=plan.lora_alpha.value,
        seed=plan.seed.value,
        gradient_checkpointing=plan.gradient_checkpointing.value,
    )
    return replace(loaded, model=model)


def recipe_of(plan: Plan) -> Recipe:
    """What the loop needs to know of the plan."""
    return Recipe(
        max_steps=plan.max_steps.value,
        batch_size=plan.batch_size.value,
        micro_batch_size=plan.micro_batch_size.value,
        learning_rate=plan.learning_rate.value,
        warmup_steps=plan.warmup_steps.value,
        weight_decay=plan.weight_decay.value,
        max_grad_norm=plan.max_grad_norm.value,
        seed=plan.seed.value,
        checkpoint_every=plan.checkpoint_every.value,
    )


def train_adapter(
    tuned: Loaded, parts: Parts, plan: Plan, folder: Path, mark: str, tell: Tell, on_less: Callable[[Plan], None]
) -> tuple[Trained, list[LoggedStep]]:
    """Train, with one line a step in metrics.jsonl. Returns the totals and all steps.

    Where memory is short, `on_less` receives the plan with what it allows.
    """
    log = StepLog(folder / METRICS)

    def on_resume(resumed: Resumed) -> None:
        log.go_on(resumed.progress.step)
        tell_resumed(resumed, plan, tell)

    def on_step(step: Step) -> None:
        log.add(step)
        tell(Stepped(step))

    def on_shortage(limits: Limits, step: int) -> None:
        tell(Note(_less(limits, step)))
        on_less(_with_limits(plan, limits, micro_batch_tokens(parts.train, 1), step))

    def on_unsaved(last: int, error: EnvironmentFault) -> None:
        what = say("No checkpoint could be written: {reason}. The training goes on, and tries again later.", reason=error.seen)
        tell(Note(what if last == 0 else say("{what} Kept is step {step}.", what=what, step=last)))

    with repeatable(plan.deterministic.value, plan.device.value):
        trained = train(
            tuned.model,
            parts.train,
            recipe_of(plan),
            shortcuts=parts.shortcuts,
            folder=folder,
            mark=mark,
            on_step=on_step,
            on_resume=on_resume,
            on_stopping=lambda: tell(Note(say("Stopping: what was reached is kept. Ctrl-C once more ends at once."))),
            memory_bytes=lambda: memory_in_use(plan.device.value),
            on_shortage=on_shortage,
            on_saved=lambda step: tell(Saved(step)),
            on_unsaved=on_unsaved,
            made_on=this_place(plan),
        )
    return trained, log.steps()


def _less(limits: Limits, step: int) -> Message:
    if limits.chunk_bytes < CHUNK_BYTES:
        how = say("with fewer logits at once")
    elif limits.checkpointing:
        how = say("computing activations twice")
    else:
        how = say("with {count} tokens at once", count=f"{limits.most_tokens:,}")
    return say("Memory ran out at step {step}; the step is done again {how}. The result stays the same.", step=step, how=how)


def _with_limits(plan: Plan, limits: Limits, longest: int, step: int) -> Plan:
    """The plan with what memory turned out to allow; `longest`: tokens of the longest example."""
    reason = say("memory ran out at step {step} with more; the result stays the same", step=step)
    micro = Choice(max(1, limits.most_tokens // longest), reason, "hardware")
    if not limits.checkpointing:
        return replace(plan, micro_batch_size=micro)
    return replace(plan, micro_batch_size=micro, gradient_checkpointing=Choice(True, reason, "hardware"))


def save(tuned: Loaded, folder: Path) -> None:
    """Write adapter, tokenizer and template into the run folder."""
    (folder / REPORT).unlink(missing_ok=True)
    save_adapter(tuned.model, tuned.tokenizer, folder)


def samples(parts: Parts, before: MeasuredAll, after: MeasuredAll) -> tuple[Sample, ...]:
    """Questions with the right answer and the answers before and after, for people to read: the first, and the worst answered."""
    old, new = ([round(100 * float(row[0]), 1) for row in side.main.rows["rouge_l"].values] for side in (before, after))
    worst = sorted(range(len(new)), key=new.__getitem__)[:NUM_FIRST]
    right = before.main.references
    rows = list(zip(parts.heldout, before.main.answers, after.main.answers, old, new, strict=False))
    return tuple(
        Sample(rows[i][0].prompt[-1].content, right[i], rows[i][1].text, rows[i][2].text, i + 1, *rows[i][3:])
        for i in sorted({*range(min(NUM_FIRST, len(rows))), *worst})
    )


def conclude(
    plan: Plan,
    parts: Parts,
    before: MeasuredAll,
    after: MeasuredAll,
    trained: Trained,
    checks: tuple[Check, ...],
) -> Report:
    """All that was found, as the report has it."""
    main, unseen = scores(before, after)
    return Report(
        status="succeeded" if all(check.passed for check in checks) else "failed",
        model=plan.model.value,
        data=plan.data.value,
        before=before.main.metrics,
        after=after.main.metrics,
        unseen=unseen,
        train=trained,
        checks=checks,
        samples=samples(parts, before, after),
        scores=main,
        each=each_question(parts.heldout, after.main.rows),
        system=parts.system,
        num_heldout=len(parts.heldout),
    )
