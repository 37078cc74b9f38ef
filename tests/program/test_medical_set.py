"""The promises of the medical set (DATA_CARD.md), checked on the files that are shipped and on the facts
behind them.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from typing import Any

import pytest

from nuguna.data.files.read import DEMO_FOLDER
from tools.demo.facts import ASPECTS, LANGUAGES, Condition, load_conditions
from tools.demo.medical_set import make_sets
from tools.demo.questions import ASKED, UNSEEN
from tools.demo.wording import Korean, with_particle

PARTS = ("train", "heldout_phrasings", "heldout_conditions")


@pytest.fixture(scope="module")
def parts() -> dict[str, list[dict[str, Any]]]:
    texts = {name: (DEMO_FOLDER / f"{name}.jsonl").read_text("utf-8") for name in PARTS}
    return {name: [json.loads(line) for line in text.splitlines()] for name, text in texts.items()}


@pytest.fixture(scope="module")
def conditions() -> list[Condition]:
    return load_conditions()


def question(row: dict[str, Any]) -> str:
    return str(row["messages"][0]["content"])


def test_the_files_are_what_the_generator_makes_of_the_facts(parts: dict[str, Any], conditions: list[Condition]) -> None:
    assert make_sets(conditions) == parts


def test_it_is_as_large_as_promised(parts: dict[str, Any], conditions: list[Condition]) -> None:
    assert len(conditions) >= 150
    count = Counter(row["lang"] for row in parts["train"])
    assert count["ko"] >= 1500 and count["en"] >= 1000
    assert len({row["topic"] for row in parts["heldout_conditions"]}) == 16


def test_each_fact_stands_in_both_languages_with_as_many_terms(conditions: list[Condition]) -> None:
    for condition in conditions:
        for aspect in ASPECTS:
            counts = {len(condition.terms[aspect, lang]) for lang in LANGUAGES}
            assert len(counts) == 1, (condition.id, aspect)
            assert counts <= ({2} if aspect == "definition" else {2, 3, 4}), (condition.id, aspect)


def test_names_and_lists_are_distinct_and_terms_are_clean(conditions: list[Condition]) -> None:
    for lang in LANGUAGES:
        assert len({c.names[lang] for c in conditions}) == len(conditions)
        for aspect in ASPECTS:
            assert len({c.terms[aspect, lang] for c in conditions}) == len(conditions), (aspect, lang)
    for condition in conditions:
        for (aspect, lang), terms in condition.terms.items():
            for term in terms:
                assert term == term.strip() and not re.search(r"[,.()/\n]", term), term
                assert len(term) <= (90 if aspect == "definition" else 55 if lang == "en" else 25), term
                assert bool(re.search("[가-힣]", term)) == (lang == "ko") or not re.search("[가-힣]", term), term
            assert not any(a != b and a in b for a in terms for b in terms) or aspect == "definition", (condition.id, terms)


def test_held_out_questions_do_not_occur_in_training(parts: dict[str, Any]) -> None:
    trained = {question(row) for row in parts["train"]}
    assert len(trained) == len(parts["train"])  # nor does training ask anything twice
    assert not trained & {question(row) for row in parts["heldout_phrasings"]}
    assert not trained & {question(row) for row in parts["heldout_conditions"]}
    assert not any(set(ASKED[key]) & set(UNSEEN[key]) for key in ASKED)


def test_held_out_conditions_do_not_occur_in_training(parts: dict[str, Any]) -> None:
    unseen = {row["topic"] for row in parts["heldout_conditions"]}
    assert not unseen & {row["topic"] for row in parts["train"]}
    assert {row["topic"] for row in parts["heldout_phrasings"]} == {row["topic"] for row in parts["train"]}


def test_answers_are_full_sentences_of_sane_length_that_hold_their_terms(parts: dict[str, Any]) -> None:
    for rows in parts.values():
        for row in rows:
            text = row["messages"][1]["content"]
            assert 12 <= len(text) <= 260, text
            assert text.endswith("."), text
            assert all(term in text for term in row["terms"]), row
            assert [m["role"] for m in row["messages"]] == ["user", "assistant"]


def test_korean_questions_and_answers_carry_the_right_particles(parts: dict[str, Any], conditions: list[Condition]) -> None:
    wrong = []
    for condition in conditions:
        name = condition.names["ko"]
        final = (ord(name[-1]) - ord("가")) % 28 if "가" <= name[-1] <= "힣" else None
        if final is None:
            continue
        bad = ("는 ", "가 ", "를 ", "란 ") if final else ("은 ", "이 ", "을 ", "이란 ")
        for rows in parts.values():
            for row in rows:
                if row["lang"] == "ko" and row["topic"] == condition.id:
                    text = question(row)
                    wrong += [text for particle in bad if re.search(rf"{re.escape(name)}{particle}", text)]
    assert not wrong


@pytest.mark.parametrize(
    ("word", "particle", "joined"),
    [
        ("감기", "은", "감기는"),
        ("천식", "은", "천식은"),
        ("고혈압", "이", "고혈압이"),
        ("코로나19", "를", "코로나19를"),
        ("HIV", "이", "HIV가"),
        ("물", "로", "물로"),
        ("약", "로", "약으로"),
        ("CT", "와", "CT와"),
        ("비타민 B12", "를", "비타민 B12를"),
        ("항원3", "은", "항원3은"),
        ("통풍(급성)", "이란", "통풍(급성)이란"),
    ],
)
def test_particles_follow_the_sound_of_the_word(word: str, particle: str, joined: str) -> None:
    assert with_particle(word, particle) == joined
    assert f"{Korean(word):{particle}}" == joined


def test_questions_that_the_guide_shows_are_trained_on(parts: dict[str, Any]) -> None:
    assert {"hypertension", "asthma"} <= {row["topic"] for row in parts["train"]}
