"""Answers of many questions at once are those of each question alone, as transformers' own `generate` gives
them.
"""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Iterator, Sequence
from functools import wraps
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from nuguna.base_models.checked import check_model
from nuguna.data.conversations.conversation import Turn
from nuguna.data.dataset import load_dataset
from nuguna.engine import memory_watch as shortage
from nuguna.engine.attention import causal
from nuguna.model import generate
from nuguna.model.adapter import attach_adapter
from nuguna.model.generate import answer
from nuguna.model.load import Loaded, load_base
from nuguna.tokens.encode import encode_prompt
from tests.conftest import ARCHITECTURES, DEMO_MODEL, make_model_folder

WORDS = "약 이름 증상 고혈압 천식 통풍 what is the dose 하루 세 번 pill blue 물 fever 두통 why how long".split()
LENGTHS = (1, 90, 3, 40, 7, 2, 25, 60, 12, 5)  # words; the sliding windows are of 32 tokens
NEW_TOKENS = 24
_SMALL = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
OTHERS: dict[str, dict[str, Any]] = {
    "BloomConfig": {"hidden_size": 32, "n_layer": 2, "n_head": 4},  # ALiBi
    "OPTConfig": {**_SMALL, "ffn_dim": 48, "word_embed_proj_dim": 32, "max_position_embeddings": 256},  # positions from the mask
    "MambaConfig": {"hidden_size": 32, "num_hidden_layers": 2, "state_size": 8},  # no attention at all
    "Lfm2Config": {**_SMALL, "num_key_value_heads": 2, "intermediate_size": 48, "full_attn_idxs": [1]},  # convolutions
}


def questions(seed: int = 0) -> list[tuple[Turn, ...]]:
    draw = random.Random(seed)
    return [(Turn("user", " ".join(draw.choices(WORDS, k=count))),) for count in LENGTHS]


def alone(
    loaded: Loaded, conversations: Sequence[Sequence[Turn]], eos_ids: frozenset[int], max_new_tokens: int = NEW_TOKENS
) -> list[list[int]]:
    """Return the tokens of each answer as transformers' `generate` gives them for one question, without the
    end.
    """
    found = []
    for turns in conversations:
        ids = torch.tensor([encode_prompt(loaded.tokenizer, turns)])
        mask, pad = torch.ones_like(ids), loaded.tokenizer.pad_token_id
        made = loaded.model.generate(
            input_ids=ids,
            attention_mask=mask,
            max_new_tokens=max_new_tokens,
            do_sample=False,
            eos_token_id=sorted(eos_ids),
            pad_token_id=pad,
        )
        new = made[0, ids.shape[1] :].tolist()
        found.append(next((new[:i] for i, token in enumerate(new) if token in eos_ids), new))
    return found


def some_ends(loaded: Loaded, conversations: Sequence[Sequence[Turn]]) -> frozenset[int]:
    """Return tokens that a random model says early, in the middle and late, as ends."""
    said = alone(loaded, conversations, frozenset({0}))
    at_once = {row[0] for row in said}
    late = [next((token for token in row[k:] if token not in at_once), 0) for row, k in zip(said, (3, 12, 20), strict=False)]
    return frozenset(late)


def check(loaded: Loaded, conversations: Sequence[Sequence[Turn]], **given: Any) -> list[list[int]]:
    """That all answers at once are those of one at a time; and these."""
    ends = some_ends(loaded, conversations)
    expected = alone(loaded, conversations, ends)
    made = answer(loaded.model, loaded.tokenizer, conversations, eos_ids=ends, max_new_tokens=NEW_TOKENS, **given)
    texts = [loaded.tokenizer.decode(ids, skip_special_tokens=True).strip() for ids in expected]
    assert [a.text for a in made] == texts
    assert [a.stopped for a in made] == [len(ids) < NEW_TOKENS for ids in expected]
    assert [a.num_tokens for a in made] == [len(ids) + (len(ids) < NEW_TOKENS) for ids in expected]
    return expected


def rows_of_calls(model: Any) -> list[int]:
    """Return how many questions go through a model at each of its calls from now on."""
    rows: list[int] = []
    own: Any = causal(model)
    own.register_forward_pre_hook(lambda m, args, given: rows.append(len(given["input_ids"])), with_kwargs=True)
    return rows


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_many_answers_at_once_are_those_of_one_at_a_time(architecture: str, model_folder: Callable[..., Path]) -> None:
    loaded = load_base(check_model(model_folder(architecture)), dtype="float32", device="cpu")
    model = attach_adapter(loaded.model, base_name="x", lora_r=4, lora_alpha=8, seed=1, gradient_checkpointing=False).eval()
    for p in (p for p in model.parameters() if p.requires_grad):
        torch.nn.init.normal_(p, std=0.3, generator=torch.Generator().manual_seed(p.numel()))
    rows = rows_of_calls(model)
    expected = check(Loaded(model, loaded.tokenizer, loaded.eos_ids), questions())
    assert max(rows) == len(LENGTHS) and len(set(rows)) > 2  # all together, and those that have ended leave
    assert len({len(ids) for ids in expected}) > 2


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Loaded:
    return load_base(check_model(make_model_folder(tmp_path_factory.mktemp("tiny"))), dtype="float32", device="cpu")


@pytest.fixture
def plain(tiny: Loaded) -> Iterator[Loaded]:
    """Yield the tiny model, whose settings a test may change."""
    model: Any = tiny.model
    before = copy.deepcopy(model.generation_config)
    yield tiny
    model.generation_config = before
    model._forward_pre_hooks.clear()


def test_answers_that_have_ended_are_computed_no_further(plain: Loaded) -> None:
    ends = some_ends(plain, questions())
    rows = rows_of_calls(plain.model)
    made = answer(plain.model, plain.tokenizer, questions(), eos_ids=ends, max_new_tokens=NEW_TOKENS)
    assert max(rows) == len(LENGTHS) and len(set(rows)) > 3
    most = sum(min(NEW_TOKENS, a.num_tokens + generate.ROUND_TOKENS) for a in made)
    assert sum(rows[4:]) <= most < len(LENGTHS) * NEW_TOKENS  # the first three calls try the padding
    assert len({a.seconds for a in made}) > 2


@pytest.mark.parametrize(
    "settings", [{"min_length": 30}, {"repetition_penalty": 1.7}, {"no_repeat_ngram_size": 2}, {"min_new_tokens": 9}]
)
def test_a_models_own_settings_for_generation_give_the_same_answers_too(plain: Loaded, settings: dict[str, Any]) -> None:
    for name, value in settings.items():
        setattr(plain.model.generation_config, name, value)
    check(plain, questions())


def random_model(tokenizer: Any, name: str, **settings: Any) -> Loaded:
    ids = {"vocab_size": 7200, "bos_token_id": None, "pad_token_id": 3, "eos_token_id": 2}
    config = getattr(transformers, name)(**{**ids, **settings})
    torch.manual_seed(0)
    return Loaded(transformers.AutoModelForCausalLM.from_config(config).eval(), tokenizer, frozenset({2}))


@pytest.mark.parametrize("name", OTHERS)
def test_other_ways_of_positions_and_memory_give_the_same_answers_too(plain: Loaded, name: str) -> None:
    check(random_model(plain.tokenizer, name, **OTHERS[name]), questions())


def test_where_padding_would_change_answers_only_questions_of_one_length_go_together(
    plain: Loaded, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = random_model(plain.tokenizer, "GPT2Config", **ARCHITECTURES["gpt2"][1], initializer_range=0.5)
    model: Any = loaded.model
    make = model.prepare_inputs_for_generation

    @wraps(make)
    def from_the_left(*args: Any, **given: Any) -> dict[str, Any]:  # as a model that counts its positions over the padding
        inputs: dict[str, Any] = make(*args, **given)
        before, new = inputs["past_key_values"].get_seq_length(), inputs["input_ids"].shape[1]
        inputs["position_ids"] = torch.arange(before, before + new)[None]
        return inputs

    monkeypatch.setattr(loaded.model, "prepare_inputs_for_generation", from_the_left)
    rows = rows_of_calls(loaded.model)
    check(loaded, [*questions(), *questions(1)[:3]])
    assert max(rows) == 2
    monkeypatch.setattr(generate, "_stands_padding", lambda *given: True)
    with pytest.raises(AssertionError):  # it would be noticed
        check(loaded, questions())


def test_rotary_angles_that_the_longest_question_chooses_for_all_are_not_shared(plain: Loaded) -> None:
    config = transformers.LlamaConfig(
        **{**plain.model.config.to_dict(), "rope_parameters": {"rope_type": "dynamic", "rope_theta": 1e4, "factor": 8.0}}
    )
    config.max_position_embeddings = 64
    torch.manual_seed(0)
    model = transformers.AutoModelForCausalLM.from_config(config).eval()
    prompts = [[5, 6, 7], [8] * 30]
    assert not generate._may_mix(model, plain.tokenizer, prompts, 40)
    assert generate._may_mix(model, plain.tokenizer, prompts, 30)


def test_each_answer_has_the_room_that_it_would_have_alone(plain: Loaded) -> None:
    """In a window of 256 tokens a long question must not shorten the answer to a short one, whatever is
    wished for.
    """
    asked = [questions()[i] for i in (0, 3)]
    lengths = [len(encode_prompt(plain.tokenizer, turns)) for turns in asked]
    expected = alone(plain, asked, frozenset({0}), 256 - lengths[0])
    made = answer(plain.model, plain.tokenizer, asked, eos_ids=frozenset({0}), max_new_tokens=400)
    assert [a.num_tokens for a in made] == [256 - length for length in lengths]
    texts = [plain.tokenizer.decode(ids[: a.num_tokens]).strip() for ids, a in zip(expected, made, strict=True)]
    assert [a.text for a in made] == texts


def test_long_questions_go_through_fewer_at_once(plain: Loaded, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(generate, "MAX_ANSWERING_TOKENS", 200)
    rows = rows_of_calls(plain.model)
    check(plain, questions())
    assert 1 < max(rows) < len(LENGTHS) and rows[-1] == 1


@pytest.mark.parametrize("count", [3, generate.ROUND_TOKENS])  # within a round, and where one ends
def test_stop_ends_all_answers_after_the_token_at_hand(plain: Loaded, count: int) -> None:
    asked: list[int] = []

    def stop() -> bool:
        asked.append(1)
        return len(asked) >= count

    given: dict[str, Any] = {"eos_ids": frozenset({0}), "max_new_tokens": NEW_TOKENS}
    made = answer(plain.model, plain.tokenizer, questions(), stop=stop, **given)
    assert [(a.num_tokens, a.stopped) for a in made] == [(count, False)] * len(LENGTHS)
    assert len(asked) == count


def test_text_is_handed_on_as_it_grows(plain: Loaded) -> None:
    pieces: list[str] = []
    given: dict[str, Any] = {"eos_ids": frozenset({0}), "max_new_tokens": NEW_TOKENS}
    made = answer(plain.model, plain.tokenizer, questions()[1:2], on_text=pieces.append, **given)
    assert "".join(pieces).strip() == made[0].text and len(pieces) > 3


def test_little_memory_is_seen_before_the_system_ends_the_program(plain: Loaded, monkeypatch: pytest.MonkeyPatch) -> None:
    ends = some_ends(plain, questions())
    told: list[int] = []
    given: dict[str, Any] = {"eos_ids": ends, "max_new_tokens": NEW_TOKENS}
    expected = answer(plain.model, plain.tokenizer, questions(), **given)
    left = iter([10**12] * 5 + [10**6] + [10**12] * 10**5)
    monkeypatch.setattr(shortage, "memory_left", lambda: next(left))
    monkeypatch.setattr(shortage, "EVERY_SECONDS", 0.0)
    found = answer(plain.model, plain.tokenizer, questions(), on_less=told.append, **given)
    assert told == [5] and [a.text for a in found] == [a.text for a in expected]


def test_half_precision_may_turn_only_near_ties(demo_in_half: Loaded) -> None:
    """Where an answer differs, the two tokens' logits differed by less than rounding."""
    asked = [c.prompt for c in load_dataset("demo").heldout[:16]]
    expected = alone(demo_in_half, asked, demo_in_half.eos_ids)
    made = answer(demo_in_half.model, demo_in_half.tokenizer, asked, eos_ids=demo_in_half.eos_ids, max_new_tokens=NEW_TOKENS)
    texts = [demo_in_half.tokenizer.decode(ids, skip_special_tokens=True).strip() for ids in expected]
    gaps = []
    for turns, ids, text, found in zip(asked, expected, texts, made, strict=True):
        if text != found.text:
            row = encode_prompt(demo_in_half.tokenizer, turns) + ids
            with torch.no_grad():
                logits = demo_in_half.model(torch.tensor([row])).logits[0, len(row) - len(ids) - 1 : -1].float()
            top = logits.topk(2).values
            gaps.append(float(((top[:, 0] - top[:, 1]) / top[:, 0].abs()).min()))
    assert len(gaps) <= len(asked) // 4 and all(gap < 0.02 for gap in gaps)


@pytest.fixture(scope="module")
def demo_in_half() -> Loaded:
    return load_base(check_model(DEMO_MODEL), dtype="bfloat16", device="cpu")
