"""Use a finished run: open its folder, answer one question, keep a conversation. Printing is left to whoever
calls.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path

from ..base_models.checked import check_adapter
from ..data.conversations.conversation import Turn, answer_turn
from ..disk.run_folder import REPORT, open_run, read_json
from ..model.adapter import without_adapter
from ..model.generate import Answer, answer
from ..model.load import Loaded
from ..model.open import open_adapter
from ..tokens.tokenizer import silence_libraries

MAX_NEW_TOKENS = 512


@dataclass
class Session:
    """A loaded run and the conversation so far."""

    loaded: Loaded
    use_base: bool = False
    system: str = ""
    turns: list[Turn] = field(default_factory=list)

    def ask(
        self,
        question: str,
        *,
        on_text: Callable[[str], None] | None = None,
        stop: Callable[[], bool] | None = None,
    ) -> Answer:
        """Answer within the conversation. An answer that was stopped half-way is kept as far as it came."""
        asked = [*self.turns, Turn("user", question)]
        system = [Turn("system", self.system)] if self.system else []
        with self._adapter():
            made = answer(
                self.loaded.model,
                self.loaded.tokenizer,
                [[*system, *asked]],
                eos_ids=self.loaded.eos_ids,
                max_new_tokens=MAX_NEW_TOKENS,
                on_text=on_text,
                stop=stop,
            )[0]
        self.turns = [*asked, answer_turn(made.text)] if made.text else asked[:-1]
        return made

    def reset(self) -> None:
        """Forget the conversation."""
        self.turns = []

    def _adapter(self) -> AbstractContextManager[object]:
        return without_adapter(self.loaded.model) if self.use_base else nullcontext()


def open_session(folder: Path, *, use_base: bool = False, system: str | None = None) -> Session:
    """Load base and adapter of a run folder (or any PEFT adapter folder). Raises `ModelError` with the way
    out.

    `system` is said before every conversation; None: what stood in every one that was trained, if there was
    such.
    """
    silence_libraries()
    folder = open_run(folder)
    return Session(
        open_adapter(check_adapter(folder)), use_base, _system_of(folder) if system is None else system
    )


def _system_of(folder: Path) -> str:
    report = read_json(folder / REPORT)
    found = report.get("system_prompt") if isinstance(report, dict) else None
    return found if isinstance(found, str) else ""
