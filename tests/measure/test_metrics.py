"""Scores against numbers worked out by hand and by the libraries' own tools, in Korean and English."""

from __future__ import annotations

import math
import sys
import unicodedata
from types import SimpleNamespace

import numpy as np
import pytest
from rouge_score.rouge_scorer import RougeScorer
from sacrebleu.metrics import BLEU, CHRF

from nuguna.measure import words_of as split
from nuguna.measure.answers import described, repeated
from nuguna.measure.bootstrap import Rows, difference, is_real, mean_of, ratio_of, scored
from nuguna.measure.compared import compared
from nuguna.measure.scores import compare, key_terms, signatures
from nuguna.measure.words_of import Tokenization, find_tokenization, without_particle

ENGLISH = (
    ["The cat sat on the mat.", "Aspirin lowers fever, but not infection.", "It's 5 mg a day - don't take more."],
    ["A cat sat on a mat.", "Aspirin lowers the fever and the pain.", "Take 5 mg a day; don't take more than that."],
)
KOREAN = (
    ["고혈압은 혈압이 높은 병입니다.", "약을 하루에 두 번 드세요."],
    ["고혈압이란 혈압이 높은 병이에요.", "약은 하루 두 번 먹어요."],
)


@pytest.fixture(autouse=True)
def without_kiwi(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether the extra is installed must not change what is expected here."""
    monkeypatch.setattr(split, "_kiwi", lambda: None)


def values(answers: list[str], references: list[str]) -> dict[str, float]:
    return {name: rows.value for name, rows in compare(answers, references).items()}


# --- English as everybody computes it
# -----------------------------------------------------------------------------------------
def test_english_scores_are_those_of_the_libraries() -> None:
    answers, references = ENGLISH
    found = values(answers, references)
    scorer = RougeScorer(["rouge1", "rouge2", "rougeL"])
    for ours, theirs in (("rouge_1", "rouge1"), ("rouge_2", "rouge2"), ("rouge_l", "rougeL")):
        expected = [scorer.score(r, a)[theirs].fmeasure for a, r in zip(answers, references, strict=True)]
        assert found[ours] == pytest.approx(100 * sum(expected) / len(expected))
    assert found["bleu"] == pytest.approx(BLEU().corpus_score(answers, [references]).score)
    assert found["chrf"] == pytest.approx(CHRF().corpus_score(answers, [references]).score)


def test_rouge_and_shared_words_by_hand() -> None:
    # the cat sat on the mat | a cat sat on a mat: 4 of 6 words in order, 2 of 5 pairs (cat sat, sat on)
    found = values(ENGLISH[0][:1], ENGLISH[1][:1])
    assert found["rouge_1"] == found["rouge_l"] == found["word_f1"] == pytest.approx(100 * 4 / 6)
    assert found["rouge_2"] == pytest.approx(100 * 2 / 5)
    assert found["exact_match"] == 0


def test_bleu_by_hand() -> None:
    # a b c d e against a b c d f: 4/5, 3/4, 2/3, 1/2, and no penalty for brevity
    found = values(["a b c d e"], ["a b c d f"])
    assert found["bleu"] == pytest.approx(100 * (4 / 5 * 3 / 4 * 2 / 3 * 1 / 2) ** 0.25)
    assert values(["a b c d"], ["a b c d e"])["bleu"] == pytest.approx(100 * math.exp(1 - 5 / 4))


# --- Korean
# --------------------------------------------------------------------------------------------------------------------
def test_korean_words_and_particles_by_hand() -> None:
    way = find_tokenization(KOREAN[1])
    assert way.name == "words+particles"
    # 고혈압 은 혈압 이 높 은 병 입니다 | 고혈압 이란 혈압 이 높 은 병 이에요: 6 of 8; pairs: 혈압 이, 이 높, 높 은, 은 병
    found = values(KOREAN[0][:1], KOREAN[1][:1])
    assert found["rouge_1"] == found["rouge_l"] == pytest.approx(100 * 6 / 8)
    assert found["rouge_2"] == pytest.approx(100 * 4 / 7)
    # 약 을 하루 에 두 번 드세요 | 약 은 하루 두 번 먹어요: 4 words of 7 and 6
    assert values(KOREAN[0][1:], KOREAN[1][1:])["rouge_1"] == pytest.approx(100 * 2 * 4 / 13)


def test_the_customary_tokenizer_gives_korean_nothing() -> None:
    text = KOREAN[0][0]
    assert RougeScorer(["rougeL"]).score(text, text)["rougeL"].fmeasure == 0  # the reason for all this
    assert values([text], [text])["rouge_l"] == 100


@pytest.mark.parametrize(
    ("word", "parts"),
    [
        ("약을", "약 을"),
        ("의사가", "의사 가"),
        ("병원에서는", "병원 에서는"),
        ("집으로", "집 으로"),
        ("물로", "물로"),  # one syllable before 로 is as often a word of its own: 도로, 피로
        ("혈압과", "혈압 과"),
        ("증상이에요", "증상 이에요"),
        ("MRI는", "MRI 는"),
        ("사과", "사과"),
        ("마을", "마을"),
        ("가을", "가을"),
        ("아이", "아이"),
        ("나이", "나이"),
        ("은", "은"),
        ("ㅋㅋㅋ", "ㅋㅋㅋ"),
    ],
)
def test_particles_are_taken_off_by_the_rules_of_final_consonants(word: str, parts: str) -> None:
    assert " ".join(without_particle(word)) == parts


def test_with_kiwipiepy_korean_is_taken_apart_into_morphemes(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("kiwipiepy")
    monkeypatch.undo()
    way = find_tokenization(KOREAN[1])
    assert way.name.startswith("morphemes/kiwipiepy-")
    assert way.words("약을 먹었습니다.")[:3] == ["약", "을", "먹"]
    assert values(KOREAN[0], KOREAN[0])["rouge_2"] == 100


def test_the_morphemes_of_an_analyser_are_used_where_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    def tokenize(text: str) -> list[SimpleNamespace]:
        return [SimpleNamespace(form=form) for form in text.replace(".", " .").replace("을", " 을").split()]

    monkeypatch.setattr(split, "_kiwi", lambda: SimpleNamespace(__version__="9.9"))
    monkeypatch.setattr(split, "_analyser", lambda: SimpleNamespace(tokenize=tokenize))
    way = find_tokenization(["약을"])
    assert way.name == "morphemes/kiwipiepy-9.9" and way.words("약을 먹자.") == ["약", "을", "먹자"]
    assert "kiwipiepy-9.9" in signatures(way)["rouge"]


# --- edges
# ---------------------------------------------------------------------------------------------------------------------
SAME = {
    "Korean": KOREAN[0],
    "English": ENGLISH[0],
    "one word": ["사과", "tea"],
    "only signs": ["!!!", "…", "?!"],
    "emoji": ["😀", "👩‍⚕️💊"],
    "Hanja": ["高血壓", "漢字와 한글"],
    "Jamo": ["ㅋㅋㅋ", "ㅠㅠ"],
    "empty": ["", ""],
    "very long": ["고혈압은 병이다. " * 400, "word " * 2000],
    "mixed": ["MRI는 자기공명영상(magnetic resonance imaging)이다.", "비타민 C 500mg"],
}


@pytest.mark.parametrize("name", SAME)
def test_identical_texts_give_100(name: str) -> None:
    assert values(SAME[name], SAME[name]) == pytest.approx(dict.fromkeys(values(["a"], ["a"]), 100))


@pytest.mark.parametrize("name", ["Korean", "English", "Hanja", "very long"])
def test_a_text_of_decomposed_or_capital_letters_is_the_same_text(name: str) -> None:
    found = values([unicodedata.normalize("NFD", text.upper()) for text in SAME[name]], SAME[name])
    assert found["rouge_2"] == found["exact_match"] == found["word_f1"] == 100


def test_unrelated_texts_are_near_nothing() -> None:
    korean = values(["바다에는 물고기들이 산다"] * 3, ["혈당을 재려면 손끝에서 피 한 방울이 필요해요"] * 3)
    english = values(["Fish live in the sea"] * 3, ["Blood sugar needs one drop from your finger"] * 3)
    for found in (korean, english):
        assert found["rouge_2"] == found["exact_match"] == 0 and found["bleu"] < 10
        assert found["rouge_l"] < 15 and found["chrf"] < 15
    assert values(["", "!"], ["혈당", "sugar"]) == pytest.approx(dict.fromkeys(korean, 0), abs=1e-9)


def test_the_result_says_how_it_was_computed() -> None:
    korean, english = (signatures(find_tokenization(texts[1])) for texts in (KOREAN, ENGLISH))
    assert english["bleu"].startswith("nrefs:1|case:mixed|eff:yes|tok:13a|smooth:exp|version:")
    assert "tok:none" in korean["bleu"] and korean["bleu"].endswith("nuguna|tok:words+particles|case:lower|norm:NFC|v:1")
    assert find_tokenization(["Vitamin C helps, " * 20 + "비타민"]).name == "words"
    assert find_tokenization([]).name == find_tokenization(["123 !"]).name == "words"


# --- answers alone
# -------------------------------------------------------------------------------------------------------------
def test_repetition_length_and_language_by_hand() -> None:
    assert repeated("a b c d e".split()) == (0, 2)
    assert repeated("a b c d a b c d".split()) == (1, 5)
    assert repeated(["a"] * 7) == (3, 4) and repeated(["a"]) == (0, 0)
    way = Tokenization("words", split._WORD_OR_SIGN.findall)
    languages = [("ko", "ko"), ("ko", "en"), ("none", "en")]
    found = {name: rows.value for name, rows in described(["a b", "a a a a a", ""], languages, way).items()}
    assert found == {"answer_words": pytest.approx(7 / 3), "repetition": 50, "same_language": 50}


def test_key_terms_are_found_letter_for_letter() -> None:
    found = key_terms(["Use Ibuprofen.", "혈압약"], [["ibuprofen", "ice"], ["혈압"]])
    assert found is not None and found.value == pytest.approx(200 / 3)
    assert key_terms(["a"], [[]]) is None


# --- intervals
# -----------------------------------------------------------------------------------------------------------------
def test_the_interval_of_a_mean_is_the_one_that_theory_gives() -> None:
    numbers = np.random.default_rng(0).normal(50, 10, 400)
    found = scored(mean_of(list(numbers)))
    half, middle = 1.96 * numbers.std() / 20, numbers.mean()
    assert (found.low, found.high) == pytest.approx((middle - half, middle + half), abs=0.15)


def test_an_interval_holds_the_truth_nineteen_times_of_twenty() -> None:
    random = np.random.default_rng(1)
    found = [scored(mean_of(list(random.random(60) < 0.3))) for _ in range(200)]
    held = sum(s.low is not None and s.high is not None and s.low <= 0.3 <= s.high for s in found)
    assert 180 <= held <= 198  # 95 %, less what so few questions cost


def test_a_ratio_weighs_questions_by_what_they_hold() -> None:
    assert scored(ratio_of([(2.0, 1.0), (4.0, 3.0)])).value == 1.5
    assert ratio_of([(0.0, 0.0)]).value == 0


def test_a_difference_is_measured_on_the_same_questions() -> None:
    random = np.random.default_rng(2)
    hard = random.normal(50, 20, 60)  # questions differ much, and each is answered a little better
    better = difference(mean_of(list(hard)), mean_of(list(hard + 2 + random.normal(0, 1, 60))))
    assert is_real(better) and better.low is not None and better.low > 1
    same = difference(mean_of(list(hard)), mean_of(list(random.permutation(hard))))
    assert is_real(same) is False
    with pytest.raises(ValueError, match="60 questions before, 59 after"):
        difference(mean_of(list(hard)), mean_of(list(hard[:59])))


def test_few_questions_and_broken_numbers_have_no_interval() -> None:
    few = scored(mean_of([1.0, 2.0]))
    assert (few.value, few.low, few.high) == (1.5, None, None) and is_real(few) is None
    assert scored(mean_of([1.0, math.nan] * 5)).low is None


def test_intervals_are_the_same_every_time_and_in_small_portions(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = compare(KOREAN[0] * 20, KOREAN[1] * 20)["bleu"]
    first = scored(rows)
    assert first == scored(rows) and first.low is not None and first.low < first.value < first.high  # type: ignore[operator]
    monkeypatch.setattr(sys.modules[Rows.__module__], "MAX_DRAWN", 40 * 7)
    assert scored(rows) == first


def test_both_sides_and_their_change_as_one_document() -> None:
    before, after = compare(KOREAN[0] * 5, KOREAN[1] * 5), compare(KOREAN[1] * 5, KOREAN[1] * 5)
    found = compared(before, after, find_tokenization(KOREAN[1])).to_json()
    assert found["tokenization"] == "words+particles" and found["after"]["rouge_l"]["value"] == 100
    change = found["change"]["rouge_l"]
    assert change["is_real"] is True and change["value"] == pytest.approx(100 - found["before"]["rouge_l"]["value"], abs=1e-5)
