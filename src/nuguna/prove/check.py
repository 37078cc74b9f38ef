"""The one table of checks: what each proves, what it is called, and what is said where it fails.

Screens, pages and the guides in docs/ read it, and a check without a row cannot be made. Without torch, so
that they can name checks at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..message import Message, say


@dataclass(frozen=True)
class BeforeTraining:
    """A check before the first step. Where it fails the run ends, with what is `wrong`."""

    name: str
    proves: Message  # the guide has it
    wrong: Message


@dataclass(frozen=True)
class AfterTraining:
    """A check of the finished run, under its name in report.json."""

    name: str
    proves: Message  # the guide has it
    label: Message  # on the screen
    title: Message  # on the page and the card


# In the order in which they are made.
BEFORE_TRAINING = (
    BeforeTraining(
        "rows_trained",
        say(
            "Every example teaches something, fits the window, and contains no token that the model does not "
            "have."
        ),
        say("Some examples teach nothing or do not fit the model."),
    ),
    BeforeTraining(
        "rows_begin",
        say("No example starts with two start tokens."),
        say("Examples start with the start token twice."),
    ),
    BeforeTraining(
        "rows_end",
        say("The last trained token of an example ends its answer."),
        say("Examples do not teach the model to end its answers."),
    ),
    BeforeTraining(
        "prompts_as_asked",
        say("What nuguna ask sends is, token for token, what comes before the trained answer."),
        say("A question would be asked with different tokens than in training."),
    ),
    BeforeTraining(
        "prompts_as_published",
        say("A question turns into the same tokens as in the model's own library."),
        say("A question turns into different tokens than in the model's own library."),
    ),
    BeforeTraining(
        "answers_after_prompts",
        say("The part that is trained begins where the prompt ends."),
        say("The part that is trained does not begin where the model's answer begins."),
    ),
    BeforeTraining(
        "order",
        say(
            "Each step has its examples, an epoch has each of them once, and their order depends only on "
            "seed and epoch."
        ),
        say("The examples are not in the order they should be."),
    ),
    BeforeTraining(
        "adapter_whole",
        say("Only the adapter is trained: once on every linear layer, in float32, with the planned scale."),
        say("The adapter is not attached the way it should be."),
    ),
    BeforeTraining(
        "adapter_fresh",
        say("With a new adapter the model computes what it computed without one."),
        say("The new adapter already changes the model."),
    ),
    BeforeTraining(
        "learning_rate",
        say("The learning rate is above zero at some step, and a number at every step."),
        say("The learning rate is not above zero, so nothing would be learned."),
    ),
    BeforeTraining(
        "own_loss",
        say("Loss and gradients of the training code are those of the plain model."),
        say("The loss used for training would not be the model's own."),
    ),
    BeforeTraining(
        "together_as_alone",
        say("Examples of different lengths give the same loss and gradients together as one by one."),
        say("Examples processed together give a different result than one by one."),
    ),
    BeforeTraining(
        "step_moves",
        say("A training step changes every matrix of the adapter that takes part, and nothing else."),
        say("A training step does not change the adapter."),
    ),
    BeforeTraining(
        "bad_step_skipped",
        say("A step whose loss is not a number is reported as such and changes nothing."),
        say("A step whose loss is not a number would not be skipped."),
    ),
    BeforeTraining(
        "measured_as_trained",
        say("Measuring computes the same loss as training."),
        say("Measuring gives a different loss than training."),
    ),
)
# In the order of report.json.
AFTER_TRAINING = (
    AfterTraining(
        "adapter_weights",
        say("The saved adapter contains finite numbers, and training has changed every layer of it."),
        say("the adapter contains valid numbers"),
        say("The adapter learned something and is not damaged"),
    ),
    AfterTraining(
        "base_unchanged",
        say("The base model's weights are the same, bit for bit, as before training."),
        say("the base model was not changed"),
        say("The base model was not changed"),
    ),
    AfterTraining(
        "reloads_the_same",
        say(
            "The saved folder, opened again by plain transformers and peft, computes what the trained model "
            "computed."
        ),
        say("the saved result works the same when opened again"),
        say("The saved result loads again and gives the same numbers"),
    ),
    AfterTraining(
        "changes_the_model",
        say("With the adapter the model computes something else than without it."),
        say("the adapter changes the model"),
        say("The adapter changes what the model says"),
    ),
    AfterTraining(
        "heldout_loss_fell",
        say("It got better on questions that it was not trained on."),
        say("it got better on questions it never saw"),
        say("It does better on questions it was not trained on"),
    ),
    AfterTraining(
        "answers_stop",
        say("At least 90 % of the answers end on their own, or the model has learned where an answer ends."),
        say("answers come to an end"),
        say("Its answers come to an end"),
    ),
    AfterTraining(
        "adapter_complete",
        say("The saved file contains every matrix that was trained, bit for bit, and no other."),
        say("everything that was trained is in the saved file"),
        say("Everything that was trained is in the saved file"),
    ),
    AfterTraining(
        "base_without_adapter",
        say(
            "With its adapter switched off, the opened result is the base model, so --base compares with "
            "exactly that."
        ),
        say("without its adapter it is the base model again"),
        say("Without its adapter it is the base model again"),
    ),
    AfterTraining(
        "asks_as_trained",
        say("The saved tokenizer and chat template turn questions into exactly the tokens used in training."),
        say("questions are asked as they were in training"),
        say("Its questions use the same tokens as in training"),
    ),
    AfterTraining(
        "steps_taken",
        say(
            "All steps were done, and at most one in a hundred was skipped because its loss was not a number."
        ),
        say("the training completed its steps"),
        say("The training completed its steps"),
    ),
)
_BEFORE = {row.name: row for row in BEFORE_TRAINING}
_AFTER = {row.name: row for row in AFTER_TRAINING}


@dataclass(frozen=True)
class Check:
    """One proof: its name in the table, whether it holds, what was seen, and what to try when it does not.

    Raises `ValueError` for a name that has no row.
    """

    name: str
    passed: bool
    detail: Message
    fix: Message | None = None

    def __post_init__(self) -> None:
        if self.name not in _BEFORE and self.name not in _AFTER:
            raise ValueError(f"the table of checks has no row {self.name}")

    def to_json(self) -> dict[str, Any]:
        """Return one entry of `checks` in report.json."""
        document: dict[str, Any] = {"name": self.name, "passed": self.passed, "detail": str(self.detail)}
        if not self.passed and self.fix is not None:
            document["fix"] = str(self.fix)
        return document


def what_is_wrong(name: str) -> Message:
    """Return the sentence with which a check before training ends the run."""
    return _BEFORE[name].wrong


def label_of(name: str) -> Message:
    """Return what the screen calls a check of a finished run."""
    return _AFTER[name].label


def title_of(name: str) -> Message | str:
    """Return the heading of a check of a finished run; of one that only another version knew, its name."""
    return _AFTER[name].title if name in _AFTER else name
