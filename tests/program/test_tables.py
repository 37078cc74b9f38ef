"""The tables of metrics and checks: sound in themselves, and the guides are made of them."""

from __future__ import annotations

import pytest

from nuguna.measure.metric_table import METRICS, ON_PAGES, metric_named
from nuguna.message import say
from nuguna.prove.check import AFTER_TRAINING, BEFORE_TRAINING, Check, label_of, title_of, what_is_wrong
from tools.tables import documents, filled


def test_every_metric_has_one_name_and_one_place() -> None:
    assert len({metric.name for metric in METRICS}) == len(METRICS)
    assert len({metric.page_place for metric in METRICS}) == len(METRICS)
    assert sorted(ON_PAGES, key=METRICS.index) == list(METRICS)
    with pytest.raises(KeyError):
        metric_named("charm")


def test_a_check_has_one_row_and_without_one_it_cannot_be_made() -> None:
    rows = (*BEFORE_TRAINING, *AFTER_TRAINING)
    assert len({row.name for row in rows}) == len(rows)
    for row in rows:
        Check(row.name, True, say("seen"))
    with pytest.raises(ValueError, match="no row looks_nice"):
        Check("looks_nice", True, say("seen"))


def test_a_check_is_called_by_what_its_row_says() -> None:
    assert [what_is_wrong(row.name) for row in BEFORE_TRAINING] == [row.wrong for row in BEFORE_TRAINING]
    last = AFTER_TRAINING[-1]
    assert (label_of(last.name), title_of(last.name)) == (last.label, last.title)
    assert title_of("of_another_version") == "of_another_version"


def test_the_tables_in_the_guides_are_up_to_date() -> None:
    old = [path.name for path, expected in documents() if path.read_text(encoding="utf-8") != expected]
    assert not old, "bring them up to date: python -m tools.tables"


def test_only_what_stands_between_the_markers_is_replaced() -> None:
    old = "before\n<!-- x:begin -->\nold\n<!-- x:end -->\nafter\n"
    assert filled(old, "x", "new\n") == old.replace("old", "new")
    for broken in ("no markers", old + old):
        with pytest.raises(ValueError, match="instead of one"):
            filled(broken, "x", "new\n")
