"""Measure a finished run, any PEFT adapter or any model on a dataset: what `nuguna evaluate` does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..base_models.checked import check_adapter
from ..data.dataset import Dataset, load_dataset
from ..data.facts import DEMO
from ..data.files.columns import split_columns
from ..disk.run_folder import ADAPTER_CONFIG, REPORT, read_json
from ..engine.forward import find_shortcuts
from ..errors import DataError
from ..hub.models import candidates, fetch
from ..machine.hardware import detect
from ..measure.bootstrap import Score
from ..measure.compared import Compared, all_scored, compared
from ..measure.evaluate import Measured, measure, reference
from ..measure.scores import signatures
from ..measure.standard_tasks import load_tasks, run_tasks
from ..message import say
from ..model.adapter import without_adapter
from ..model.load import Loaded, load_base
from ..model.open import open_adapter
from ..plan.plan_file import read_run_plan
from ..plan.settings import setting_named
from ..stages.events import Downloading, Note, Stage, Tell
from ..tokens.choose import Pair, SplitRules, for_measuring
from ..tokens.template import with_thinking
from ..tokens.tokenizer import silence_libraries

USUAL_LIMIT = 128  # questions, where nothing else was planned
USUAL_BATCH = 4
MAX_TOKENS = 2048  # of an example, for a model that nobody planned for
_DEFAULT_SEED = setting_named("seed").default


@dataclass(frozen=True)
class Wish:
    """What to measure, as the user said it; None: not said."""

    target: str  # folder of a run or an adapter, local model, or name on the hub
    data: str | None = None
    columns: Sequence[str] = ()
    limit: int | None = None
    seed: int | None = None
    with_base: bool = True  # of an adapter: the base model too


@dataclass(frozen=True)
class Examined:
    """What was found: the base, the tuned model, or both on the same questions."""

    target: str
    data: str
    questions: tuple[str, ...]
    references: tuple[str, ...]
    base: Measured | None
    tuned: Measured | None

    @property
    def sides(self) -> dict[str, Measured]:
        """Those that were measured, by their names in JSON."""
        return {name: side for name, side in (("base", self.base), ("tuned", self.tuned)) if side is not None}

    @property
    def change(self) -> Compared | None:
        """Both and their difference; None where only one was measured."""
        if self.base is None or self.tuned is None:
            return None
        return compared(self.base.rows, self.tuned.rows, self.base.tokenization)

    def to_json(self) -> dict[str, Any]:
        """Return the document of `nuguna evaluate --json`."""
        way = next(iter(self.sides.values())).tokenization
        found = self.change
        scores = (
            {"base": found.before, "tuned": found.after}
            if found
            else {n: all_scored(s.rows) for n, s in self.sides.items()}
        )
        texts = zip(
            self.questions,
            self.references,
            *([a.text for a in side.answers] for side in self.sides.values()),
            strict=True,
        )
        return {
            "target": self.target,
            "data": self.data,
            "num_questions": len(self.questions),
            "tokenization": way.name,
            "signatures": signatures(way),
            **{name: _as_json(side) for name, side in scores.items()},
            **({"change": found.to_json()["change"]} if found else {}),
            "answers": [dict(zip(("question", "reference", *self.sides), row, strict=True)) for row in texts],
        }


def _as_json(scores: Mapping[str, object]) -> dict[str, Any]:
    return {name: score.to_json() for name, score in scores.items() if isinstance(score, Score)}


@dataclass(frozen=True)
class _Subject:
    """A loaded model, and what its plan says of measuring."""

    loaded: Loaded
    has_adapter: bool
    data: str | None  # what it was trained on
    columns: Sequence[str]
    rules: SplitRules
    batch_size: int
    questions_then: frozenset[str]  # that its report shows


def evaluate(wish: Wish, tell: Tell) -> Examined:
    """Load, measure, return. Raises `ModelError` and `DataError`."""
    silence_libraries()
    tell(Stage(say("Loading the model")))
    subject = _open(wish, tell)
    source = wish.data or subject.data or DEMO
    tell(Stage(say("Reading the data")))
    dataset = load_dataset(source, wish.columns or (subject.columns if source == subject.data else ()))
    pairs = _questions(subject, dataset, source, wish, tell)
    base = tuned = None
    if _is_wanted("base", subject, wish):
        tell(Stage(say("Measuring the base model on {count} questions", count=f"{len(pairs):,}")))
        with without_adapter(subject.loaded.model) if subject.has_adapter else nullcontext():
            base = _measured(subject, pairs)
    if _is_wanted("tuned", subject, wish):
        tell(Stage(say("Measuring the trained model on {count} questions", count=f"{len(pairs):,}")))
        tuned = _measured(subject, pairs)
    questions = tuple(conversation.prompt[-1].content for conversation, _ in pairs)
    references = tuple(reference(subject.loaded, conversation) for conversation, _ in pairs)
    return Examined(wish.target, source, questions, references, base, tuned)


def evaluate_tasks(wish: Wish, tasks: Sequence[str], include_path: Path | None, tell: Tell) -> dict[str, Any]:
    """Standard tasks for base and tuned model, as one JSON document. Raises what `harness.load_tasks` raises,
    before loading.
    """
    silence_libraries()
    load_tasks(tasks, include_path)
    tell(Stage(say("Loading the model")))
    subject = _open(wish, tell)
    sides = [side for side in ("base", "tuned") if _is_wanted(side, subject, wish)]
    found: dict[str, Any] = {"target": wish.target}
    for side in sides:
        is_bare = side == "base" and subject.has_adapter
        with without_adapter(subject.loaded.model) if is_bare else nullcontext():
            found[side] = run_tasks(
                subject.loaded,
                tasks,
                limit=wish.limit,
                include_path=include_path,
                on_task=lambda task: tell(Stage(say("The task {task}", task=task))),
            )
    return found


def _is_wanted(side: str, subject: _Subject, wish: Wish) -> bool:
    return subject.has_adapter if side == "tuned" else not subject.has_adapter or wish.with_base


def _measured(subject: _Subject, pairs: Sequence[Pair]) -> Measured:
    return measure(
        subject.loaded,
        [conversation for conversation, _ in pairs],
        [encoded for _, encoded in pairs],
        num_answers=len(pairs),
        batch_size=subject.batch_size,
    )


def _questions(subject: _Subject, dataset: Dataset, source: str, wish: Wish, tell: Tell) -> list[Pair]:
    tokenizer, rules = subject.loaded.tokenizer, subject.rules
    if dataset.has_reasoning:
        tokenizer.chat_template = with_thinking(tokenizer.chat_template, is_on=True)
    was_trained = subject.data is not None and source == subject.data
    pairs = for_measuring(tokenizer, dataset, rules, subject.loaded.eos_ids, was_trained=was_trained)
    if not pairs:
        raise DataError(
            say("No question in {source} can be measured.", source=source),
            fix=say("See what is in it: nuguna data {source}", source=source),
        )
    if was_trained and wish.limit is not None and wish.limit > rules.num_heldout:
        tell(
            Note(
                say(
                    "Only {count} questions were held out from this run's training, so no more are measured.",
                    count=len(pairs),
                )
            )
        )
    asked = {conversation.prompt[-1].content for conversation, _ in pairs}
    if was_trained and len(pairs) == rules.num_heldout and not subject.questions_then <= asked:
        tell(
            Note(
                say(
                    "The data has changed since the training: the questions measured now may have been "
                    "trained on."
                )
            )
        )
    return pairs


def _open(wish: Wish, tell: Tell) -> _Subject:
    folder = Path(wish.target).expanduser()
    seed = _DEFAULT_SEED if wish.seed is None else wish.seed
    if (folder / ADAPTER_CONFIG).is_file():
        plan = read_run_plan(folder)
        loaded = _ready(open_adapter(check_adapter(folder)))
        kept = plan.get("heldout_examples")
        limit = (
            min(wish.limit or USUAL_LIMIT, kept or USUAL_LIMIT)
            if wish.data is None
            else wish.limit or USUAL_LIMIT
        )
        is_same = wish.data in (None, plan.get("data"))
        rules = SplitRules(limit, 0, _length(loaded, plan), plan.get("seed", seed) if is_same else seed)
        columns = split_columns(plan["data_columns"]) if plan.get("data_columns") else ()
        return _Subject(
            loaded,
            True,
            plan.get("data"),
            columns,
            rules,
            plan.get("micro_batch_size", USUAL_BATCH),
            _shown(folder),
        )
    base = candidates(wish.target)[0]
    place = fetch(base, on_progress=lambda done, total: tell(Downloading(done, total)))
    machine = detect(Path.cwd())
    loaded = _ready(load_base(place, dtype=machine.dtype, device=machine.device))
    rules = SplitRules(wish.limit or USUAL_LIMIT, 0, _length(loaded, {}), seed)
    return _Subject(loaded, False, None, (), rules, USUAL_BATCH, frozenset())


def _ready(loaded: Loaded) -> Loaded:
    return replace(loaded, shortcuts=find_shortcuts(loaded.model))


def _length(loaded: Loaded, plan: dict[str, Any]) -> int:
    window = getattr(loaded.model.config.get_text_config(), "max_position_embeddings", None) or MAX_TOKENS
    return int(plan.get("max_seq_length", min(window, MAX_TOKENS)))


def _shown(folder: Path) -> frozenset[str]:
    report = read_json(folder / REPORT)
    samples = report.get("samples", []) if isinstance(report, dict) else []
    return frozenset(
        sample["question"] for sample in samples if isinstance(sample, dict) and "question" in sample
    )
