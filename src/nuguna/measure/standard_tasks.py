"""Standard tasks (HellaSwag, KoBEST and thousands more), run by EleutherAI's lm-evaluation-harness where it
is installed.

What a task asks and how it is scored is the harness's, so that numbers can be compared with published ones.
Like those, they are taken without the chat template. No program comes from the hub: neither a model's, nor a
dataset's, nor a metric's.
"""

from __future__ import annotations

import copy
import difflib
import importlib.metadata
import logging
import math
import os
import random
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..engine.memory_watch import in_smaller_pieces, is_shortage, watched
from ..errors import DataError, EnvironmentFault, NugunaError, SettingError, first_line
from ..message import say
from ..model.load import Loaded

BATCH_SIZE = 16  # answers at once; halved where memory runs out
INSTALL = ".venv/bin/pip install -e '.[lm-eval]'"
LIST = ".venv/bin/lm-eval ls tasks"
# by the names that were asked for: the harness's own objects, questions at hand
Tasks = Mapping[str, Mapping[str, Any]]
MAX_CLOSE = 5  # names that are offered for one that is not known


def run_tasks(
    loaded: Loaded,
    tasks: Sequence[str],
    *,
    limit: int | None = None,
    include_path: Path | None = None,
    batch_size: int = BATCH_SIZE,
    on_task: Callable[[str], None] = lambda task: None,
    on_less: Callable[[int], None] = lambda size: None,
) -> dict[str, Any]:
    """Return what a model reaches on standard tasks, as a JSON document: each task with its metrics and their
    standard errors.

    `limit`: only so many questions of each. `include_path`: a folder with task descriptions of one's own;
    they may hold code, which is run. `on_task` is told each task before it begins, `on_less` a smaller batch
    size where memory was short. The result has `{"tasks": {NAME: {"version", "num_fewshot", "num_examples",
    "metrics": {METRIC: {"value", "stderr"}}}}}`. Raises what `load_tasks` raises.
    """
    found = load_tasks(tasks, include_path)
    done: dict[str, Any] = {}
    for name in found:
        on_task(name)
        with _quietly(), watched(loaded.model):
            done |= _read(
                in_smaller_pieces(partial(_run, loaded, found, name, limit), batch_size, on_less=on_less)
            )
    return {
        "harness": f"lm-eval {importlib.metadata.version('lm_eval')}",
        "limit": limit,
        "chat_template": False,
        "tasks": done,
    }


def load_tasks(tasks: Sequence[str], include_path: Path | None = None) -> Tasks:
    """Return the tasks by these names, their questions at hand. Called early, it tells mistakes before a
    model is loaded.

    Raises `EnvironmentFault` where the harness is not installed, `SettingError` for a name it does not know
    and for a task that cannot be run, and `DataError` where a task's questions are neither here nor can be
    downloaded.
    """
    if include_path is not None and not include_path.is_dir():
        raise SettingError(
            say("There is no folder {folder} with task descriptions.", folder=include_path),
            fix=say("Choose a folder with YAML files in the format of lm-evaluation-harness."),
        )
    names = tuple(dict.fromkeys(name.strip() for name in tasks if name.strip()))
    if not names:
        raise SettingError(
            say("No task was named."), fix=say("Name one or more: {example}", example="hellaswag,kobest_copa")
        )
    return _loaded(names, include_path)


@lru_cache(maxsize=1)
def _loaded(names: tuple[str, ...], include_path: Path | None) -> Tasks:
    """Kept, since base and tuned model are measured on the same ones, and reading 14,000 descriptions takes
    seconds.
    """
    manager_of = _task_manager()
    with _quietly():
        manager = _manager(manager_of, names, include_path)
        for name in names:
            if name not in manager.all_tasks:
                raise _unknown(name, manager.all_tasks)
        return {name: _load(manager, name) for name in names}


def _task_manager() -> Callable[..., Any]:
    """Return the harness's index of tasks. Its `evaluate` would download metrics that are programs, and run
    them.
    """
    os.environ.setdefault("HF_EVALUATE_OFFLINE", "1")
    try:
        from lm_eval.tasks import TaskManager
    except ImportError as error:
        raise EnvironmentFault(
            say("Standard tasks need EleutherAI's lm-evaluation-harness, which is not installed here."),
            seen=say("{reason}", reason=error),
            fix=say("Install it in the nuguna folder: {command}", command=INSTALL),
        ) from error
    made: Callable[..., Any] = TaskManager
    return made


def _manager(manager_of: Callable[..., Any], names: tuple[str, ...], include_path: Path | None) -> Any:
    """Return all tasks by name; only those of one's own folder where they are all that was asked for."""
    if include_path is None:
        return manager_of()
    own = manager_of(include_path=str(include_path), include_defaults=False)
    return own if set(names) <= set(own.all_subtasks) else manager_of(include_path=str(include_path))


def _unknown(name: str, known: Sequence[str]) -> SettingError:
    close = difflib.get_close_matches(name, known, MAX_CLOSE, cutoff=0.6)
    close = close or [other for other in known if name.lower() in other.lower()][:MAX_CLOSE]
    return SettingError(
        say("There is no standard task {task}.", task=name),
        seen=say("Similar names: {names}", names=", ".join(close)) if close else None,
        fix=say("See all names: {command}", command=LIST),
    )


def _load(manager: Any, name: str) -> Mapping[str, Any]:
    try:
        made: Mapping[str, Any] = manager.load([name])
    except Exception as error:
        if is_shortage(error):
            raise
        raise _cannot_load(name, error) from error
    if any(getattr(task, "UNSAFE_CODE", False) for task in made["tasks"].values()):
        raise SettingError(
            say(
                "The task {task} runs programs that the model writes, and nuguna does not do that.", task=name
            ),
            fix=say("Choose another task."),
        )
    return made


def _cannot_load(name: str, error: Exception) -> NugunaError:
    """Return the harness and the library of datasets fail in many ways; three of them have another way
    out.
    """
    seen = say("{reason}", reason=first_line(error))
    if type(error).__name__ == "DatasetNotFoundError":
        return DataError(
            say("The questions of the task {task} are not on the hub, or not open to everyone.", task=name),
            seen=seen,
            fix=say(
                "If its page asks to accept terms, accept them, and log in: {command}",
                command=".venv/bin/hf auth login",
            ),
        )
    if _is_unreachable(error):
        from huggingface_hub import constants

        fix = say(
            "With an internet connection and without HF_HUB_OFFLINE, the same command downloads them once "
            "and keeps them in {folder}. That folder can be copied to a computer that is offline.",
            folder=constants.HF_HOME,
        )
        return DataError(
            say(
                "The questions of the task {task} are not on this computer and cannot be downloaded.",
                task=name,
            ),
            seen=seen,
            fix=fix,
        )
    return SettingError(
        say("The task {task} cannot be used.", task=name),
        seen=seen,
        fix=say("Check its description, or choose another task: {command}", command=LIST),
    )


def _is_unreachable(error: Exception) -> bool:
    """No way to the hub; and what is said of a dataset of which only another part is in the cache (datasets
    4, 5).
    """
    if isinstance(error, OSError):
        return isinstance(error, (ConnectionError, TimeoutError)) or type(error).__module__.startswith(
            ("requests", "huggingface")
        )
    return "find cache" in str(error) or type(error).__module__.startswith("httpx")


def _run(loaded: Loaded, tasks: Tasks, name: str, limit: int | None, batch_size: int) -> Mapping[str, Any]:
    """Return one task or group of tasks, as the harness's `simple_evaluate` does it, without its look at the
    machine and at git.
    """
    from lm_eval import evaluate
    from lm_eval.models.huggingface import HFLM

    tokenizer = copy.deepcopy(loaded.tokenizer)  # the harness gives it a padding token
    options = {"backend": "causal", "batch_size": batch_size, "trust_remote_code": False}
    try:
        _make_ready(tasks[name]["tasks"].values())
        model = HFLM(pretrained=loaded.model, tokenizer=tokenizer, **options)
        results: Mapping[str, Any] = evaluate(lm=model, task_dict=tasks[name], limit=limit, log_samples=False)
    except Exception as error:
        if is_shortage(error):
            raise
        raise EnvironmentFault(
            say("The task {task} stopped partway.", task=name),
            seen=say("{reason}", reason=first_line(error)),
            fix=say("Check its description, or choose another task: {command}", command=LIST),
        ) from error
    return results


def _make_ready(tasks: Iterable[Any]) -> None:
    """The harness's own seeds, and no examples in front of a question where a task does not say how many."""
    from lm_eval.defaults import DEFAULT_OTHER_SEED, DEFAULT_RANDOM_SEED

    random.seed(DEFAULT_RANDOM_SEED)
    np.random.seed(DEFAULT_OTHER_SEED)
    torch.manual_seed(DEFAULT_OTHER_SEED)
    for task in tasks:
        if task.get_config("num_fewshot") is None:
            task.set_config(key="num_fewshot", value=0)
        task.set_fewshot_seed(seed=DEFAULT_OTHER_SEED)


def _read(results: Mapping[str, Any]) -> dict[str, Any]:
    """Return the harness's flat table ("acc,none", "acc_stderr,none") as one entry a metric."""
    counts, shots, versions = (results.get(name, {}) for name in ("n-samples", "n-shot", "versions"))
    return {
        name: {
            "version": versions.get(name),
            "num_fewshot": shots.get(name),
            "num_examples": counts.get(name, {}).get("effective"),
            "metrics": dict(_metrics(row)),
        }
        for name, row in results["results"].items()
    }


def _metrics(row: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, float | None]]]:
    for key, value in row.items():
        metric, comma, way = key.partition(",")
        if not comma or metric.endswith("_stderr"):
            continue
        # "exact_match,strict-match": how the answer was taken from the text
        name = metric if way == "none" else key
        yield name, {"value": _number(value), "stderr": _number(row.get(f"{metric}_stderr,{way}"))}


def _number(value: object) -> float | None:
    """None for what is not a number, as the harness's "N/A"."""
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None


@contextmanager
def _quietly() -> Iterator[None]:
    """The libraries' remarks on themselves are left out, and what tasks print goes where it cannot get into a
    JSON document.
    """
    logs = [logging.getLogger(name) for name in ("lm_eval", "datasets", "huggingface_hub")]
    levels = [log.level for log in logs]
    for log in logs:
        log.setLevel(logging.CRITICAL)
    try:
        with redirect_stdout(sys.stderr):
            yield
    finally:
        for log, level in zip(logs, levels, strict=True):
            log.setLevel(level)
