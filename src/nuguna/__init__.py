"""nuguna: fine-tune a language model on anyone's own machine with one command.

The public Python API, loaded when first used, so that importing the package costs nothing:

    Request(model=…, data=…, max_steps=…)    what you wish; the rest is derived
    detect(folder) -> Hardware               what this machine is
    load_dataset(source) -> Dataset          read and check the data
    decide(request, hardware, dataset)       -> (Plan, BaseModel): every value with its reason
    fine_tune(request, …) -> Report          the whole job: plan, train, measure, prove, write
    open_session(folder) -> Session          use a finished run: session.ask("…")
    screen(lang) -> Screen                   shows a run in the terminal: fine_tune(request, tell=screen("en"), …)
    NugunaError                              base of all errors: what happened, what was seen, what to do next
"""

from __future__ import annotations

import importlib
from typing import Any

from .machine.process import prepare

__version__ = "0.1.0"

_HOMES = {
    "Request": ("plan.settings", "Request"),
    "detect": ("machine.hardware", "detect"),
    "load_dataset": ("data.dataset", "load_dataset"),
    "decide": ("stages.decide", "decide"),
    "fine_tune": ("run", "run"),  # not `nuguna.run`, which is the module
    "open_session": ("jobs.chat", "open_session"),
    "screen": ("ui.screen", "screen"),
    "NugunaError": ("errors", "NugunaError"),
}
__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, attribute = _HOMES[name]
    prepare()
    return getattr(importlib.import_module(f"{__name__}.{module}"), attribute)
