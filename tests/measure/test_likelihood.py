"""Which option a model finds the most likely, on numbers that can be worked out by hand and against the
model's own logits.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import nuguna.engine.loss as loss
from nuguna.base_models.checked import check_model
from nuguna.data.conversations.conversation import Conversation, Turn
from nuguna.engine import forward
from nuguna.engine.forward import Shortcuts
from nuguna.machine.device_profile import DEVICE_PROFILES
from nuguna.measure.evaluate import measure
from nuguna.measure.likelihood import _groups, choice_examples, choice_scores, log_likelihoods
from nuguna.model.load import Loaded, load_base
from nuguna.tokens.encode import Encoded, encode

PACKED = Shortcuts(split_head=True, packed=True, fused=True)
PLAIN = Shortcuts(split_head=False, packed=False, fused=False)
LONG = "이 약은 하루에 두 번, 아침과 저녁 식사 뒤에 먹는 약입니다. " * 5


@pytest.fixture(scope="module")
def model(model_folder: Callable[..., Path]) -> Loaded:
    return load_base(check_model(model_folder()), dtype="float32", device="cpu")


def asked(*texts: str, right: int = 0, question: str = "무엇?", earlier: tuple[Turn, ...] = ()) -> Conversation:
    choices = tuple(f"{letter}. {text}" for letter, text in zip("ABCDEF", texts, strict=False))
    turns = (*earlier, Turn("user", "\n".join([question, *choices])), Turn("assistant", choices[right]))
    return Conversation(turns, "f.jsonl", 1, choices=choices)


def encoded(model: Loaded, conversations: list[Conversation], length: int = 512) -> list[Encoded]:
    return [encode(model.tokenizer, conversation, length, model.eos_ids) for conversation in conversations]


def scores(model: Loaded, conversations: list[Conversation], shortcuts: Shortcuts = PACKED, size: int = 4) -> dict[str, float]:
    def on_less(count: int) -> None:
        raise AssertionError("there is memory enough")

    examples = encoded(model, conversations)
    looked_at = replace(model, shortcuts=shortcuts)
    found = choice_scores(looked_at, conversations, examples, batch_size=size, on_less=on_less)
    return {name: rows.value for name, rows in found.items()}


def sums(model: Loaded, questions: list[list[Encoded]], shortcuts: Shortcuts, size: int) -> list[list[float]]:
    return log_likelihoods(replace(model, shortcuts=shortcuts), questions, batch_size=size, on_less=lambda count: None)


def fix_chances(monkeypatch: pytest.MonkeyPatch, chances: dict[int, float]) -> None:
    """Let the model expect these tokens everywhere with these probabilities, and all others equally with what
    is left.
    """
    real = forward.target_logits

    def target_logits(*args: Any) -> tuple[torch.Tensor, torch.Tensor]:
        logits, labels = real(*args)
        rest = (1 - sum(chances.values())) / (logits.shape[-1] - len(chances))
        fixed = torch.full_like(logits, math.log(rest))
        for token, chance in chances.items():
            fixed[:, token] = math.log(chance)
        return fixed, labels

    monkeypatch.setattr(loss, "target_logits", target_logits)


def tokens(model: Loaded, text: str) -> list[int]:
    return list(model.tokenizer(text, add_special_tokens=False)["input_ids"])


def test_the_sum_is_that_of_the_answers_tokens_and_its_end(model: Loaded, monkeypatch: pytest.MonkeyPatch) -> None:
    conversation = asked("물", "불 불")
    tried = choice_examples(model, conversation, *encoded(model, [conversation]))
    end, water = model.tokenizer.eos_token_id, tokens(model, "A. 물")
    assert end is not None
    fix_chances(monkeypatch, {end: 0.25, water[-1]: 0.5})
    (first, second), rest = sums(model, [tried], PLAIN, 1)[0], 0.25 / (7200 - 2)
    assert first == pytest.approx(math.log(0.25) + math.log(0.5) + (len(water) - 1) * math.log(rest), rel=1e-5)
    assert second == pytest.approx(math.log(0.25) + len(tokens(model, "B. 불 불")) * math.log(rest), rel=1e-5)


def test_accuracy_is_counted_by_the_sum_and_by_the_sum_a_character(model: Loaded, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where all tokens are as likely as any other, the sum prefers few tokens, and the sum a character long
    ones.
    """
    fix_chances(monkeypatch, {})
    short, long = "쀏", "The doctor and the patient"
    counts = [(len(tokens(model, text)) + 1, len(text)) for text in (f"A. {short}", f"B. {long}")]
    assert counts[0][0] < counts[1][0] and counts[0][0] / counts[0][1] > counts[1][0] / counts[1][1]
    assert scores(model, [asked(short, long, right=0)], PLAIN) == {"choice_accuracy": 100, "choice_accuracy_norm": 0}
    assert scores(model, [asked(short, long, right=1)], PLAIN) == {"choice_accuracy": 0, "choice_accuracy_norm": 100}
    four = [asked(short, long, right=right) for right in (0, 1, 1, 1)]
    assert scores(model, four, PLAIN) == {"choice_accuracy": 25, "choice_accuracy_norm": 75}


def test_of_equal_choices_the_first_is_taken(model: Loaded, monkeypatch: pytest.MonkeyPatch) -> None:
    fix_chances(monkeypatch, {})
    assert scores(model, [asked("물", "물")], PLAIN)["choice_accuracy"] == 100
    assert scores(model, [asked("물", "물", right=1)], PLAIN)["choice_accuracy"] == 0


def some(model: Loaded) -> list[Conversation]:
    earlier = (Turn("user", "안녕?"), Turn("assistant", "안녕하세요. 무엇을 도와드릴까요?"))
    return [
        asked("물", "불", "흙", right=1),
        asked("아스피린", "나루정", "가온캡슐", "미리시럽", right=3, question=LONG + "무슨 약?"),
        asked("a red pill", "no pill at all", right=1, earlier=earlier),
        asked("물", "불", question=LONG),
    ]


def test_packed_with_a_shared_prompt_is_the_same_as_one_by_one_with_all_logits(
    model: Loaded, monkeypatch: pytest.MonkeyPatch
) -> None:
    conversations = some(model)
    questions = [choice_examples(model, c, e) for c, e in zip(conversations, encoded(model, conversations), strict=True)]
    assert [3, 4, 5, 6] in _groups(questions, torch.device("cpu")), "a long prompt is read once"
    expected: list[list[float]] = []
    for tried in questions:
        expected.append([])
        for example in tried:
            ids = torch.tensor([example.ids.tolist()])
            with torch.no_grad():
                chances = model.model(ids).logits[0].log_softmax(-1)
            places = [i for i, is_trained in enumerate(example.loss_mask) if is_trained]
            expected[-1].append(sum(float(chances[i - 1, example.ids[i]]) for i in places))
    for shortcuts, size in ((PACKED, 4), (PACKED, 1), (PLAIN, 4), (PLAIN, 1)):
        for found, right in zip(sums(model, questions, shortcuts, size), expected, strict=True):
            assert found == pytest.approx(right, rel=1e-4)
    monkeypatch.setitem(
        DEVICE_PROFILES, "cpu", replace(DEVICE_PROFILES["cpu"], min_saved_share=0.6)
    )  # as on a GPU, where only long prompts are worth it
    assert _groups(questions, torch.device("cpu")) == [[3, 4, 5, 6], [0, 1, 2, 7, 8, 9, 10]]
    for found, right in zip(sums(model, questions, PACKED, 4), expected, strict=True):
        assert found == pytest.approx(right, rel=1e-4)


def test_the_right_choice_is_the_example_that_is_measured(model: Loaded) -> None:
    for conversation in some(model)[:2]:
        (example,) = encoded(model, [conversation])
        place = conversation.choices.index(conversation.answer)
        assert choice_examples(model, conversation, example)[place] == example


def test_of_earlier_answers_nothing_is_counted_and_a_cut_prompt_is_the_same_for_all(model: Loaded) -> None:
    with_earlier, long = some(model)[2:]
    for tried in choice_examples(model, with_earlier, *encoded(model, [with_earlier])):
        text = model.tokenizer.decode([i for i, is_trained in zip(tried.ids, tried.loss_mask, strict=True) if is_trained])
        assert "도와" not in text and text.startswith(("A. a red pill", "B. no pill at all"))
    longer = asked("물", "불 " * 30, question=LONG)
    (example,) = encoded(model, [longer], 100)
    assert example.cut
    first, second = choice_examples(model, longer, example)
    start = example.loss_mask.tolist().index(True)
    assert first == Encoded(example.ids, example.loss_mask) and (second.ids[:start] == first.ids[:start]).all()
    assert len(second.ids) > 100, "a longer choice is whole too"
    assert long.answer == "A. 물"


def test_a_measurement_reports_both_where_there_are_choices_and_none_elsewhere(model: Loaded) -> None:
    def names(conversations: list[Conversation]) -> set[str]:
        examples = encoded(model, conversations)
        found = measure(replace(model, shortcuts=PACKED), conversations, examples, num_answers=1, batch_size=2).rows
        return {name for name in found if name.startswith("choice")}

    plain = Conversation((Turn("user", "a"), Turn("assistant", "b")), "f", 1)
    assert names([plain]) == set()
    assert names([plain, *some(model)]) == {"choice_accuracy", "choice_accuracy_norm"}


def test_questions_without_choices_do_not_count(model: Loaded, monkeypatch: pytest.MonkeyPatch) -> None:
    fix_chances(monkeypatch, {})
    plain = Conversation((Turn("user", "a"), Turn("assistant", "b")), "f", 1)
    assert scores(model, [plain, asked("물", "물"), plain], PLAIN)["choice_accuracy"] == 100
    assert scores(model, [plain], PLAIN) == {}
