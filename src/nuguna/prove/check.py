"""What a check is and what it is called, without torch, so that screens and pages can name it at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..message import Message, say

CHECK_NAMES: dict[str, Message] = {
    "adapter_weights": say("the adapter holds sound numbers"),
    "base_unchanged": say("the base model was left alone"),
    "reloads_the_same": say("the saved result works the same when opened again"),
    "changes_the_model": say("the adapter changes the model"),
    "heldout_loss_fell": say("it got better on questions it never saw"),
    "answers_stop": say("answers come to an end"),
    "adapter_complete": say("all that was trained is in the saved file"),
    "base_without_adapter": say("without its adapter it is the base model again"),
    "asks_as_trained": say("questions are asked as they were trained"),
    "steps_taken": say("the training took its steps"),
}


CHECK_TITLES = {
    "adapter_weights": say("The adapter learned something and is not damaged"),
    "base_unchanged": say("The base model was left as it was"),
    "reloads_the_same": say("The saved result loads again and computes the same"),
    "changes_the_model": say("The adapter changes what the model says"),
    "heldout_loss_fell": say("It does better on questions it was not trained on"),
    "answers_stop": say("Its answers come to an end"),
    "adapter_complete": say("Everything that was trained is in the saved file"),
    "base_without_adapter": say("Without its adapter it is the base model again"),
    "asks_as_trained": say("It is asked with the same tokens as it was trained"),
    "steps_taken": say("The training took its steps"),
}


@dataclass(frozen=True)
class Check:
    """One proof: its name in report.json, whether it holds, what was seen, and what to try when it does not."""

    name: str
    passed: bool
    detail: Message
    fix: Message | None = None

    def to_json(self) -> dict[str, Any]:
        """One entry of `checks` in report.json."""
        document: dict[str, Any] = {"name": self.name, "passed": self.passed, "detail": str(self.detail)}
        if not self.passed and self.fix is not None:
            document["fix"] = str(self.fix)
        return document
