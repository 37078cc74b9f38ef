"""Standard tasks: the harness's numbers against our own arithmetic, and what is said when a task cannot be
run.
"""

from __future__ import annotations

import json
import math
import sys
import types
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import tomlkit
import torch

from nuguna.base_models.checked import check_model
from nuguna.errors import DataError, EnvironmentFault, NugunaError, SettingError
from nuguna.jobs.chat import open_session
from nuguna.measure import standard_tasks as harness
from nuguna.model.adapter import without_adapter
from nuguna.model.load import Loaded, load_base
from tests.conftest import DEMO_MODEL

ROWS = [
    {
        "ask": "What are the symptoms of asthma?",
        "options": ["The main symptoms of asthma are wheezing.", "Seven.", "No"],
        "right": 0,
    },
    {"ask": "의학에서 고혈압의 증상은", "options": ["자동차", "고혈압의 주요 증상은 두통입니다.", "세 시"], "right": 1},
    {"ask": "What is the weather?", "options": ["The main symptoms are fever.", "x", "It rains today in the north"], "right": 1},
    {"ask": "천식의 치료는", "options": ["천식의 치료", "노래를 부릅니다.", "흡입제"], "right": 0},
    {"ask": "What is diabetes?", "options": ["Diabetes is a disease.", "Diabetes is a", "Tuesday"], "right": 0},
]
TASK = """
task: {name}
dataset_path: json
dataset_kwargs:
  data_files:
    test: {data}
test_split: test
output_type: multiple_choice
doc_to_text: {question}
doc_to_choice: options
doc_to_target: right
metric_list:
  - metric: acc
  - metric: acc_norm
metadata:
  version: 3.0
"""


@pytest.fixture(autouse=True)
def nothing_kept() -> Iterator[None]:
    harness._loaded.cache_clear()
    yield
    harness._loaded.cache_clear()


def refusal(names: list[str], folder: Path | None = None) -> NugunaError:
    with pytest.raises(NugunaError) as caught:
        harness.load_tasks(names, folder)
    return caught.value


# ---- what is said, with a stand-in for the package where the hub would be asked


def test_without_the_package_the_way_to_install_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lm_eval", None)
    error = refusal(["hellaswag"])
    assert isinstance(error, EnvironmentFault)
    assert ".venv/bin/pip install -e '.[lm-eval]'" in str(error.fix)
    project = tomlkit.parse((Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8"))
    assert any(name.startswith("lm-eval") for name in project["project"]["optional-dependencies"]["lm-eval"])


class Unsafe:
    UNSAFE_CODE = True


class DatasetNotFoundError(FileNotFoundError):
    """As the library of datasets names it."""


class Manager:
    """An index of tasks whose data cannot be had, each in another way."""

    all_tasks = ["arc_easy", "hellaswag", "hellaswag_ko", "humaneval", "kobest_boolq", "kobest_copa", "mine"]
    all_subtasks = all_tasks
    outcomes: dict[str, Any] = {
        "hellaswag": ConnectionError("Couldn't reach 'Rowan/hellaswag' on the Hub (OfflineModeIsEnabled)"),
        "kobest_copa": ValueError("Couldn't find cache for skt/kobest_v1 for config 'copa'\nAvailable configs in the cache: []"),
        "kobest_boolq": DatasetNotFoundError("Dataset 'skt/kobest_v1' is a gated dataset on the Hub."),
        "humaneval": {"tasks": {"humaneval": Unsafe()}},
        "mine": FileNotFoundError("Unable to find '/tmp/mine.json'"),
    }

    def __init__(self, **options: Any) -> None:
        pass

    def load(self, names: list[str]) -> Any:
        outcome = self.outcomes[names[0]]
        if isinstance(outcome, Exception):
            raise outcome
        return outcome


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    package, tasks = types.ModuleType("lm_eval"), types.ModuleType("lm_eval.tasks")
    tasks.TaskManager = Manager  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "lm_eval", package)
    monkeypatch.setitem(sys.modules, "lm_eval.tasks", tasks)


@pytest.mark.usefixtures("stand_in")
@pytest.mark.parametrize(("typed", "offered"), [("hellaswgg", "hellaswag, hellaswag_ko"), ("ARC", "arc_easy"), ("자장가", None)])
def test_an_unknown_name_brings_those_close_to_it(typed: str, offered: str | None) -> None:
    error = refusal(["arc_easy", typed] if typed == "ARC" else [typed])
    assert isinstance(error, SettingError) and typed in str(error.what)
    assert (str(error.seen).rpartition(": ")[2] if error.seen else None) == offered
    assert "lm-eval ls tasks" in str(error.fix)


@pytest.mark.usefixtures("stand_in")
@pytest.mark.parametrize(
    ("name", "kind", "what", "fix"),
    [
        ("hellaswag", DataError, "cannot be downloaded", "copied to a computer that is offline"),
        ("kobest_copa", DataError, "cannot be downloaded", "copied to a computer that is offline"),
        ("kobest_boolq", DataError, "not open to everyone", "hf auth login"),
        ("humaneval", SettingError, "runs programs", "another task"),
        ("mine", SettingError, "cannot be used", "description"),
    ],
)
def test_a_task_whose_questions_cannot_be_had_says_why_and_what_to_do(
    name: str, kind: type[NugunaError], what: str, fix: str
) -> None:
    error = refusal([name])
    assert type(error) is kind and error.exit_code == 2
    assert name in str(error.what) and what in str(error.what) and fix in str(error.fix)
    outcome = Manager.outcomes[name]
    if isinstance(outcome, Exception):
        assert str(error.seen) == str(outcome).splitlines()[0]


@pytest.mark.parametrize("names", [[], [""], [" ", ""]])
def test_no_name_is_no_task(names: list[str]) -> None:
    assert "hellaswag" in str(refusal(names).fix)


def test_a_folder_of_descriptions_that_is_not_there_is_named(tmp_path: Path) -> None:
    assert str(tmp_path / "none") in str(refusal(["mine"], tmp_path / "none").what)


# ---- the real package


@pytest.fixture
def real() -> None:
    pytest.importorskip("lm_eval")


pytestmark = pytest.mark.filterwarnings("default")  # the harness and what it stands on have some of their own


def write_task(folder: Path, name: str = "local_choice", question: str = "ask", rows: list[dict[str, Any]] = ROWS) -> Path:
    data = folder / f"{name}.jsonl"
    data.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    (folder / f"{name}.yaml").write_text(TASK.format(name=name, data=json.dumps(str(data)), question=question), encoding="utf-8")
    return folder


def by_hand(loaded: Loaded, row: dict[str, Any]) -> tuple[bool, bool]:
    """Return whether the right option is the likeliest, as it is and for its length in characters, by plain
    forward passes.
    """
    chances = []
    for option in row["options"]:
        asked = loaded.tokenizer(row["ask"], add_special_tokens=False)["input_ids"]
        ids = loaded.tokenizer(f"{row['ask']} {option}", add_special_tokens=False)["input_ids"]
        with torch.no_grad():
            logits = loaded.model(torch.tensor([ids])).logits[0].log_softmax(-1)
        chances.append(sum(float(logits[i - 1, ids[i]]) for i in range(len(asked), len(ids))))
    lengths = [len(option) for option in row["options"]]
    plain = max(range(3), key=lambda i: chances[i])
    normed = max(range(3), key=lambda i: chances[i] / lengths[i])
    return plain == row["right"], normed == row["right"]


@pytest.mark.usefixtures("real")
def test_accuracy_is_what_plain_forward_passes_give(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    loaded = load_base(check_model(DEMO_MODEL), dtype="float32", device="cpu")
    loaded.tokenizer.pad_token = None  # the harness would give it one
    (tmp_path / "noise.py").write_text("def ask(row):\n    print('a task that talks')\n    return row['ask']\n", encoding="utf-8")
    folder = write_task(tmp_path, question="!function noise.ask")
    told: list[str] = []
    result = harness.run_tasks(loaded, ["local_choice"], include_path=folder, batch_size=2, on_task=told.append)
    found = [by_hand(loaded, row) for row in ROWS]
    task = result["tasks"]["local_choice"]
    for metric, right in zip(("acc", "acc_norm"), zip(*found, strict=True), strict=True):
        share = sum(right) / len(right)
        assert 0 < share < 1
        assert task["metrics"][metric]["value"] == pytest.approx(share)
        assert task["metrics"][metric]["stderr"] == pytest.approx(math.sqrt(share * (1 - share) / (len(right) - 1)))
    assert (task["version"], task["num_fewshot"], task["num_examples"]) == (3.0, 0, 5)
    assert result["harness"].startswith("lm-eval 0.4.") and json.loads(json.dumps(result)) == result
    assert told == ["local_choice"] and loaded.tokenizer.pad_token is None
    talked = capsys.readouterr()
    assert talked.out == "" and "a task that talks" in talked.err


@pytest.mark.usefixtures("real")
def test_a_run_is_measured_beside_its_base_and_each_time_alike(finished_run: Path, tmp_path: Path) -> None:
    pills = [
        {
            "ask": f"What is the color of pill {i}?",
            "options": [f"The color of pill {i} is {c}." for c in ("red", "blue")],
            "right": i % 2,
        }
        for i in range(20)
    ]
    folder = write_task(tmp_path, "pills", rows=pills)
    loaded = open_session(finished_run).loaded

    def run(limit: int | None = None) -> dict[str, Any]:
        found: dict[str, Any] = harness.run_tasks(loaded, ["pills"], include_path=folder, limit=limit)["tasks"]["pills"]
        return found

    tuned = run()
    with without_adapter(loaded.model):
        base = run()
    alone = load_base(check_model(DEMO_MODEL), dtype="float32", device="cpu")
    assert base == harness.run_tasks(alone, ["pills"], include_path=folder)["tasks"]["pills"]
    assert tuned["metrics"]["acc"]["value"] > base["metrics"]["acc"]["value"]
    assert run() == tuned
    assert run(limit=6)["num_examples"] == 6


@pytest.mark.usefixtures("real")
def test_the_numbers_are_those_of_the_harness_by_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from lm_eval import simple_evaluate
    from lm_eval.models.huggingface import HFLM
    from lm_eval.tasks import TaskManager

    folder = write_task(tmp_path)
    text = (folder / "local_choice.yaml").read_text(encoding="utf-8")
    shots = text.replace("local_choice\n", "with_shots\n").replace(
        "test_split", "fewshot_split: test\nnum_fewshot: 2\ntest_split"
    )
    (folder / "with_shots.yaml").write_text(shots, encoding="utf-8")
    (folder / "both.yaml").write_text("group: both\ntask: [local_choice, with_shots]\n", encoding="utf-8")
    loaded = load_base(check_model(DEMO_MODEL), dtype="float32", device="cpu")
    manager = TaskManager(include_path=str(folder), include_defaults=False)
    model = HFLM(pretrained=loaded.model, tokenizer=loaded.tokenizer, batch_size=4)
    expected = simple_evaluate(model=model, tasks=["local_choice", "with_shots"], task_manager=manager, log_samples=False)[
        "results"
    ]
    found = harness.run_tasks(loaded, ["local_choice", "with_shots"], include_path=folder)["tasks"]
    for name in ("local_choice", "with_shots"):
        for metric in ("acc", "acc_norm"):
            score = found[name]["metrics"][metric]
            assert (score["value"], score["stderr"]) == (
                expected[name][f"{metric},none"],
                expected[name][f"{metric}_stderr,none"],
            )
    assert found["with_shots"]["num_fewshot"] == 2 and found["local_choice"]["num_fewshot"] == 0
    monkeypatch.setattr(harness, "_manager", lambda *given: manager)  # a group in one's own folder, without all others
    assert {"local_choice", "with_shots"} <= set(harness.run_tasks(loaded, ["both"], include_path=folder)["tasks"])


@pytest.mark.usefixtures("real")
def test_memory_that_is_short_makes_batches_smaller(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from lm_eval.models.huggingface import HFLM

    real_call = HFLM._model_call

    def short(self: Any, inps: torch.Tensor, *rest: Any, **options: Any) -> Any:
        if len(inps) > 2:
            raise RuntimeError("CUDA out of memory.")
        return real_call(self, inps, *rest, **options)

    loaded, folder = load_base(check_model(DEMO_MODEL), dtype="float32", device="cpu"), write_task(tmp_path)
    expected = harness.run_tasks(loaded, ["local_choice"], include_path=folder)
    monkeypatch.setattr(HFLM, "_model_call", short)
    sizes: list[int] = []
    assert harness.run_tasks(loaded, ["local_choice"], include_path=folder, batch_size=8, on_less=sizes.append) == expected
    assert sizes == [4, 2]


@pytest.mark.usefixtures("real")
def test_a_description_that_cannot_be_followed_is_said_without_a_traceback(tmp_path: Path) -> None:
    loaded = load_base(check_model(DEMO_MODEL), dtype="float32", device="cpu")
    folder = write_task(tmp_path, question="'{{ ask | nofilter }}'")
    with pytest.raises(NugunaError, match="local_choice") as caught:
        harness.run_tasks(loaded, ["local_choice"], include_path=folder)
    assert "nofilter" in str(caught.value.seen)


@pytest.mark.usefixtures("real")
def test_the_harness_says_what_is_missing_offline(monkeypatch: pytest.MonkeyPatch) -> None:
    index = cache(harness._task_manager())  # of 14,000 descriptions; reading them once is enough here
    monkeypatch.setattr(harness, "_task_manager", lambda: index)
    error = refusal(["hellaswag"])
    assert isinstance(error, DataError) and "Rowan/hellaswag" in str(error.seen)
    assert "hellaswag" in str(refusal(["helaswag"]).seen)


@pytest.mark.usefixtures("real")
def test_the_command_measures_base_beside_tuned(finished_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from nuguna.cli import app

    asked = ["evaluate", str(finished_run), "--tasks", "local_choice", "--tasks-path", str(write_task(tmp_path)), "--limit", "4"]
    app([*asked, "--json"], standalone_mode=False)
    found = json.loads(capsys.readouterr().out)
    for side in ("base", "tuned"):
        task = found[side]["tasks"]["local_choice"]
        assert set(task["metrics"]) == {"acc", "acc_norm"} and task["num_examples"] == found[side]["limit"] == 4
    app(asked, standalone_mode=False)
    shown = capsys.readouterr().out
    assert "local_choice: acc_norm" in shown and "±" in shown and "The task local_choice" in shown
    app([*asked, "--no-base", "--json"], standalone_mode=False)
    assert set(json.loads(capsys.readouterr().out)) == {"target", "tuned"}
