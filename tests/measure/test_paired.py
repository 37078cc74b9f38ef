"""What report.json keeps of each question, so that runs can be compared on the same ones."""

from __future__ import annotations

import json

import pytest

from nuguna.data.conversations.conversation import Conversation, Turn
from nuguna.measure.bootstrap import mean_of, ratio_of
from nuguna.measure.paired import EachQuestion, each_question, paired, shared_marks


def asked(*questions: str, file: str = "a.csv") -> list[Conversation]:
    return [Conversation((Turn("user", question), Turn("assistant", "yes")), file, i) for i, question in enumerate(questions)]


def side(questions: str, points: list[float]) -> EachQuestion:
    rows = {"rouge_l": mean_of(points, 100), "loss": ratio_of([(2 * p, 4.0) for p in points]), "bleu": mean_of(points)}
    return each_question(asked(*questions), rows)


def test_it_comes_back_from_json_and_holds_what_ranks_runs() -> None:
    made = side("abcdef", [0.1, 0.2, 0.3, 0.4, 0.5, 0.6])
    assert EachQuestion.from_json(json.loads(json.dumps(made.to_json()))) == made
    assert made.sums.keys() == {"rouge_l", "loss"} and made.sums["loss"][1] == (0.4, 4.0)
    partly = each_question(asked(*"abc"), {"choice_accuracy": mean_of([1.0, 0.0])})  # of two of the three
    assert partly.sums == {}
    with pytest.raises(ValueError, match="as many"):
        EachQuestion.from_json({"marks": ["a", "b"], "sums": {"loss": [[1, 2]]}})


def test_a_question_is_known_by_its_words_wherever_it_stands() -> None:
    one, other = (each_question(asked(*"ab", file=file), {}).marks for file in ("a.csv", "b.csv"))
    assert one == other and len(set(one)) == 2
    answered = Conversation((Turn("user", "a"), Turn("assistant", "no")), "a.csv", 0)
    assert each_question([answered], {}).marks[0] != one[0]


def test_a_difference_is_taken_question_by_question_over_the_shared_ones() -> None:
    points = [0.0, 0.9, 0.1, 0.8, 0.3, 0.6]
    one, other = side("abcdef", points), side("fedcbaxy", [p + 0.05 for p in reversed(points)] + [0.0, 0.0])
    marks = shared_marks([one, other])
    assert marks == list(one.marks)
    found = paired(one, other, "rouge_l", marks)
    # each question gained 5 points: no doubt, although the points themselves range from 0 to 90
    assert (found.value, found.low, found.high) == pytest.approx((5.0, 5.0, 5.0))
    assert shared_marks([one, side("xyz", [0, 0, 0])]) == []
