"""nuguna: fine-tune a language model on anyone's own machine with one command.

The public Python API, loaded when first used, so that importing the package costs nothing:

    Request(model=…, data=…, max_steps=…)    what you wish; the rest is derived
    detect(folder) -> Hardware               what this machine is
    load_dataset(source) -> Dataset          read and check the data
    decide(request, hardware, dataset)       -> (Plan, BaseModel): every value with its reason
    fine_tune(request, …) -> Report          the whole job: plan, train, measure, prove, write
    open_session(folder) -> Session          use a finished run: session.ask("…")
    screen(lang) -> Screen                   shows a run in a terminal: fine_tune(request, tell=screen("en"))
    NugunaError                              base of all errors: what happened, what was seen, what to do next
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .machine.process import prepare
from .version import __version__ as __version__

if TYPE_CHECKING:
    from .data.dataset import load_dataset
    from .errors import NugunaError
    from .jobs.chat import open_session
    from .machine.hardware import detect
    from .plan.settings import Request
    from .run import run as fine_tune  # not `nuguna.run`, which is the module
    from .stages.decide import decide
    from .ui.screen import screen

__all__ = [
    "NugunaError",
    "Request",
    "decide",
    "detect",
    "fine_tune",
    "load_dataset",
    "open_session",
    "screen",
]

if not TYPE_CHECKING:  # a type checker that saw this would let any name of the package pass
    import importlib

    _HOMES = {
        "NugunaError": ("errors", "NugunaError"),
        "Request": ("plan.settings", "Request"),
        "decide": ("stages.decide", "decide"),
        "detect": ("machine.hardware", "detect"),
        "fine_tune": ("run", "run"),
        "load_dataset": ("data.dataset", "load_dataset"),
        "open_session": ("jobs.chat", "open_session"),
        "screen": ("ui.screen", "screen"),
    }

    def __getattr__(name: str) -> object:
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        module, attribute = _HOMES[name]
        prepare()
        return getattr(importlib.import_module(f"{__name__}.{module}"), attribute)
