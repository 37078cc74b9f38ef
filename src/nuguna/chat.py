"""Use a finished run: open its folder, answer one question, keep a conversation. Printing is left to whoever calls."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .catalog import demo_model, describe_folder
from .data.conversation import Turn, answer_turn
from .errors import ModelError
from .gate import check_adapter, is_on_another_machine
from .generate import Answer, answer
from .hub import cached_folder
from .message import say
from .model import Loaded, load_base, reload_adapter
from .planfile import read_run_plan
from .runfolder import ADAPTER_CONFIG, REPORT, open_run, read_json
from .tokenizer import load_tokenizer, silence_libraries

MAX_NEW_TOKENS = 512


@dataclass
class Session:
    """A loaded run and the conversation so far."""

    loaded: Loaded
    use_base: bool = False
    system: str = ""
    turns: list[Turn] = field(default_factory=list)

    def ask(
        self, question: str, *, on_text: Callable[[str], None] | None = None, stop: Callable[[], bool] | None = None
    ) -> Answer:
        """Answer within the conversation. An answer that was stopped half-way is kept as far as it came."""
        asked = [*self.turns, Turn("user", question)]
        system = [Turn("system", self.system)] if self.system else []
        with self._adapter():
            made = answer(
                self.loaded.model,
                self.loaded.tokenizer,
                [[*system, *asked]],
                end_ids=self.loaded.end_ids,
                max_new_tokens=MAX_NEW_TOKENS,
                on_text=on_text,
                stop=stop,
            )[0]
        self.turns = [*asked, answer_turn(made.text)] if made.text else asked[:-1]
        return made

    def reset(self) -> None:
        """Forget the conversation."""
        self.turns = []

    def _adapter(self) -> AbstractContextManager[Any]:
        return self.loaded.model.disable_adapter() if self.use_base else nullcontext()


def open_session(folder: Path, *, use_base: bool = False, system: str | None = None) -> Session:
    """Load base and adapter of a run folder (or any PEFT adapter folder). Raises `ModelError` with the way out.

    `system` is said before every conversation; None: what stood in every one that was trained, if there was such.
    """
    silence_libraries()
    folder = open_run(folder)
    return Session(open_adapter(folder), use_base, _system_of(folder) if system is None else system)


def open_adapter(folder: Path) -> Loaded:
    """Base and adapter of a run folder, or of any PEFT adapter folder. Raises `ModelError`."""
    check_adapter(folder)
    dtype, device = _how_it_was_trained(folder)
    loaded = load_base(find_base(folder), dtype=dtype, device=device)
    model = reload_adapter(loaded.model, folder)
    tokenizer = load_tokenizer(folder) if (folder / "tokenizer_config.json").is_file() else loaded.tokenizer
    return Loaded(model, tokenizer, loaded.end_ids)


def _system_of(folder: Path) -> str:
    report = read_json(folder / REPORT)
    found = report.get("system_prompt") if isinstance(report, dict) else None
    return found if isinstance(found, str) else ""


def find_base(folder: Path) -> Path:
    """The folder of the base model that an adapter names: a local folder, the demo model, or one in the hub's cache."""
    config = read_json(folder / ADAPTER_CONFIG)
    name = config.get("base_model_name_or_path") if isinstance(config, dict) else None
    if not isinstance(name, str) or not name or is_on_another_machine(name):
        raise ModelError(
            say("{folder} does not say which base model it belongs to.", folder=folder), fix=say("Train it again: ./run.sh")
        )
    report = read_json(folder / REPORT)
    if isinstance(report, dict) and report.get("model") == "demo":
        return _checked(demo_model().folder)
    if Path(name).is_dir():
        return _checked(Path(name))
    if place := cached_folder(name) if name.count("/") == 1 else None:
        return _checked(place)
    raise ModelError(
        say("The base model of this adapter is not on this machine: {name}", name=name),
        fix=say("Download it: hf download {name}", name=name),
    )


def _checked(folder: Path | None) -> Path:
    """Look at the configuration as data before anything is loaded from it."""
    assert folder is not None
    describe_folder(folder)
    return folder


def _how_it_was_trained(folder: Path) -> tuple[str, str]:
    """(dtype, device) of the run's plan where this machine has the device; else float32 on the CPU."""
    import torch

    values = read_run_plan(folder)
    dtype, device = values.get("dtype", "float32"), values.get("device", "cpu")
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    return (dtype, device) if there.get(device) else ("float32", "cpu")
