"""`nuguna evaluate` and `nuguna score`: any run, adapter or model on any questions, and any file of pairs."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from nuguna.data.dataset import load_dataset
from nuguna.data.pairs import read_pairs
from nuguna.errors import DataError, ModelError
from nuguna.jobs.evaluate import Wish, evaluate
from nuguna.measure.bootstrap import Score
from nuguna.measure.compared import Compared
from nuguna.model.losses import heldout_losses
from nuguna.report.findings import numbers
from nuguna.stages.events import Event, Note
from nuguna.ui.tables import compared_rows, loss_curve
from tests.conftest import write_pairs
from tests.report.test_report import a_report


def notes_of(wish: Wish) -> tuple[Any, list[str]]:
    notes: list[str] = []

    def tell(event: Event) -> None:
        if isinstance(event, Note):
            notes.append(str(event.message))

    return evaluate(wish, tell), notes


@pytest.fixture(scope="module")
def examined(finished_run: Path) -> Any:
    return evaluate(Wish(str(finished_run)), lambda event: None)


def test_a_run_is_measured_as_it_measured_itself(examined: Any, finished_run: Path) -> None:
    report = json.loads((finished_run / "report.json").read_text(encoding="utf-8"))
    found = examined.to_json()
    assert found["num_questions"] == len(found["answers"]) > 1
    for side, when in (("base", "before"), ("tuned", "after")):
        assert {name: score["value"] for name, score in found[side].items()} == pytest.approx(report[when], rel=1e-5)
    assert found["change"]["loss"]["value"] < 0 and found["tokenization"] and found["signatures"]["bleu"]
    shown = {sample["question"]: sample["after"] for sample in report["samples"]}
    assert shown.items() <= {answer["question"]: answer["tuned"] for answer in found["answers"]}.items()


def test_what_is_measured_was_never_trained(examined: Any, finished_run: Path) -> None:
    plan = (finished_run / "plan.toml").read_text(encoding="utf-8")
    source = next(line.split('"')[1] for line in plan.splitlines() if line.startswith("data = "))
    assert set(examined.questions) < {c.prompt[-1].content for c in load_dataset(source).train}
    more, notes = notes_of(Wish(str(finished_run), limit=1000, with_base=False))
    assert set(more.questions) == set(examined.questions) and any("no more are measured" in note for note in notes)
    assert more.base is None and set(more.to_json()) >= {"tuned"} and "base" not in more.to_json()


def test_other_questions_and_the_same_ones_every_time(finished_run: Path, tmp_path: Path) -> None:
    data = str(write_pairs(tmp_path / "others.jsonl", 30))
    wish = Wish(str(finished_run), data=data, limit=5, seed=3, with_base=False)
    first, again = evaluate(wish, lambda event: None), evaluate(wish, lambda event: None)
    assert first.to_json() == again.to_json() and len(first.questions) == 5
    assert evaluate(replace(wish, seed=4), lambda event: None).questions != first.questions


def test_data_that_changed_since_the_training_is_told(finished_run: Path, tmp_path: Path) -> None:
    plan = (finished_run / "plan.toml").read_text(encoding="utf-8")
    source = Path(next(line.split('"')[1] for line in plan.splitlines() if line.startswith("data = ")))
    kept = source.read_bytes()
    try:
        source.write_text(kept.decode().replace("pill", "pellet"), encoding="utf-8")
        _, notes = notes_of(Wish(str(finished_run), with_base=False))
    finally:
        source.write_bytes(kept)
    assert any("has changed since the training" in note for note in notes)


def test_a_bare_adapter_and_a_bare_model(finished_run: Path, tmp_path: Path, model_folder: Callable[..., Path]) -> None:
    data = str(write_pairs(tmp_path / "rows.jsonl", 6))
    adapter = tmp_path / "adapter"
    adapter.mkdir()
    for name in ("adapter_config.json", "adapter_model.safetensors"):
        shutil.copy(finished_run / name, adapter / name)
    found = evaluate(Wish(str(adapter), data=data), lambda event: None)
    assert set(found.sides) == {"base", "tuned"}
    model = evaluate(Wish(str(model_folder()), data=data, limit=4), lambda event: None)
    assert set(model.sides) == {"base"} and len(model.questions) == 4 and model.change is None
    with pytest.raises((ModelError, DataError)):
        evaluate(Wish(str(tmp_path / "nothing")), lambda event: None)


def test_losses_of_single_examples_add_up(model_folder: Callable[..., Path]) -> None:
    from nuguna.base_models.checked import check_model
    from nuguna.engine.forward import find_shortcuts
    from nuguna.engine.loss import loss_sum
    from nuguna.model.load import load_base
    from nuguna.tokens.batch import collate
    from nuguna.tokens.encode import Encoded

    loaded = load_base(check_model(model_folder()), dtype="float32", device="cpu")
    shortcuts = find_shortcuts(loaded.model)
    loaded = replace(loaded, shortcuts=shortcuts)
    # of unlike length, out of order, one with a common beginning of others
    examples = [Encoded(tuple(range(5, 5 + n)), (False,) * 3 + (True,) * (n - 3)) for n in (30, 8, 19, 12)]
    found = heldout_losses(loaded, examples, 4)
    for example, (loss, count) in zip(examples, found, strict=True):
        with torch.no_grad():
            alone = loss_sum(loaded.model, collate([example], "cpu"), replace(shortcuts, fused=False, packed=False)).item()
        assert (loss, count) == pytest.approx((alone, example.num_trained), rel=1e-4)
    assert found == [pytest.approx(pair, rel=1e-4) for pair in heldout_losses(loaded, examples, 1)]


# --- pairs
# ---------------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", "prediction,reference\na,b\nc,d\n"),
        ("b.csv", "id,정답,예측\n1,b,a\n2,d,c\n"),
        ("c.jsonl", '{"answer": "a", "label": "b"}\n{"answer": "c", "label": "d"}\n'),
        ("d.json", '[{"Model Answer": "a", "Ground truth": "b"}, {"Model Answer": "c", "Ground truth": "d"}]'),
        ("e.tsv", "hyp\tref\na\tb\nc\td\n"),
    ],
)
def test_the_two_columns_are_found(name: str, content: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_text(content, encoding="utf-8")
    found = read_pairs(path)
    assert (found.predictions, found.references) == (("a", "c"), ("b", "d"))


def test_columns_may_be_named_and_two_text_files_go_line_by_line(tmp_path: Path) -> None:
    table, left, right = tmp_path / "t.csv", tmp_path / "left.txt", tmp_path / "right.txt"
    table.write_text("x,y,z\n1,2,3\n", encoding="utf-8")
    assert read_pairs(table, columns=["z", "x"]).predictions == ("3",)
    left.write_bytes("가\r\n\r\n다".encode("cp949"))
    right.write_text("a\nb\nc\n", encoding="utf-8")
    found = read_pairs(left, right)
    assert found.predictions == ("가", "", "다") and found.references == ("a", "b", "c")


@pytest.mark.parametrize(
    ("content", "columns", "message"),
    [
        ("x,y\n1,2\n", (), "not clear which column is the prediction"),
        ("x,y\n1,2\n", ("x", "w"), "not clear which column is the prediction"),
        ("prediction,reference\n", (), "no pair was found|not clear"),
        ("prediction,reference\na,b,c\nd,e\n", (), "line 2"),
    ],
)
def test_what_cannot_be_scored_is_said(content: str, columns: tuple[str, ...], message: str, tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(DataError, match=message):
        read_pairs(path, columns=columns)


def test_a_null_or_a_missing_line_is_named(tmp_path: Path) -> None:
    path, other = tmp_path / "t.jsonl", tmp_path / "u.txt"
    path.write_text('{"prediction": "a", "reference": null}\n', encoding="utf-8")
    with pytest.raises(DataError, match="line 1: nothing .null. where text was expected"):
        read_pairs(path)
    other.write_text("a\nb\n", encoding="utf-8")
    (tmp_path / "v.txt").write_text("a\n", encoding="utf-8")
    with pytest.raises(DataError, match="v.txt ends after 1 lines"):
        read_pairs(other, tmp_path / "v.txt")
    with pytest.raises(DataError, match="a second file"):
        read_pairs(other)
    with pytest.raises(DataError, match="There is no file"):
        read_pairs(tmp_path / "w.csv")


# --- in the terminal
# -----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("name", "change", "said"),
    [
        ("rouge_l", Score(5, 1, 9), "really better"),
        ("rouge_l", Score(-5, -9, -1), "really worse"),
        ("loss", Score(-1, -2, -0.5), "really better"),
        ("loss", Score(1, 0.5, 2), "really worse"),
        ("bleu", Score(5, -1, 9), "could be chance"),
        ("bleu", Score(5), "too few questions to tell"),
        ("bleu", Score(0, 0, 0), "unchanged"),
        ("bleu", Score(0, -1, 1), "could be chance"),  # equal here, but not on every question
        ("answer_words", Score(-9, -12, -5), "really different"),
    ],
)
def test_terminal_and_page_judge_a_difference_in_the_same_words(name: str, change: Score, said: str) -> None:
    found = Compared({name: Score(10)}, {name: Score(10 + change.value)}, {name: change}, "words", {})
    ((_, _, _, _, in_terminal),) = compared_rows(found, str)
    made = replace(a_report(), before={name: 10.0}, after={name: 10 + change.value}, scores=found)
    (on_page,) = numbers(made, str)
    assert in_terminal == on_page["verdict_text"] == said


def test_the_loss_is_drawn_as_a_line_of_blocks() -> None:
    assert loss_curve([4.0, 3.0, 2.0, 1.0], plain=False) == "4.00 █▆▃▁ 1.00"
    assert loss_curve([4.0, 1.0], plain=True) == "4.00 #_ 1.00"
    assert len(loss_curve(list(range(1000)), plain=False).split()[1]) == 40
    assert loss_curve([1.0], plain=False) == loss_curve([], plain=False) == ""
    assert loss_curve([2.0, float("nan"), 2.0], plain=False) == "2.00 ▁▁ 2.00"
