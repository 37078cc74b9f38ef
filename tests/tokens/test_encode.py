"""Which tokens are trained: exactly the assistant's words and the token that ends its turn, in every kind of
template.
"""

from __future__ import annotations

import json
import random
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from tokenizers.processors import TemplateProcessing
from transformers import AutoTokenizer

from nuguna.base_models.checked import check_tokenizer
from nuguna.data.conversations.conversation import Conversation, Turn
from nuguna.errors import DataError
from nuguna.tokens.encode import Encoded, encode, encode_prompt
from nuguna.tokens.laid_out import end_token_ids
from nuguna.tokens.template import DEFAULT_TEMPLATE, is_date_fixed, with_fixed_date, with_thinking
from nuguna.tokens.tokenizer import load_tokenizer, splits_as_its_file_says
from tests.conftest import DEMO_MODEL

THINKING = (
    "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' }}"
    "{% if m.role == 'assistant' and loop.last %}{{ '<think>\n\n</think>\n\n' }}{% endif %}"
    "{{ m.content + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}"
    "{% if enable_thinking is defined and not enable_thinking %}{{ '<think>\n\n</think>\n\n' }}{% endif %}{% endif %}"
)
WITH_BEGIN = (
    "{{ '<|endoftext|>' }}{% for m in messages %}{{ '[' + m.role + '] ' + m.content }}"
    "{% if m.role == 'assistant' %}{{ eos_token }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '[assistant] ' }}{% endif %}"
)
TEMPLATES = {"chatml": None, "thinking": with_thinking(THINKING, is_on=False), "begin": WITH_BEGIN, "default": DEFAULT_TEMPLATE}
ASK, REPLY = Turn("user", "고혈압의 증상은 무엇인가요?"), Turn("assistant", "두통과 어지러움입니다. 뷁쀍!")


@pytest.fixture
def tokenizer(request: pytest.FixtureRequest) -> Any:
    loaded = load_tokenizer(check_tokenizer(DEMO_MODEL))
    template = TEMPLATES[getattr(request, "param", "chatml")]
    loaded.chat_template = template or loaded.chat_template
    return loaded


def trained_text(tokenizer: Any, *turns: Turn, max_length: int = 512) -> str:
    encoded = encode(tokenizer, Conversation(turns, "f", 1), max_length, end_token_ids(tokenizer, None))
    return str(tokenizer.decode([i for i, t in zip(encoded.ids, encoded.loss_mask, strict=True) if t]))


@pytest.mark.parametrize("tokenizer", TEMPLATES, indirect=True)
def test_the_answer_and_its_end_are_trained_and_nothing_else(tokenizer: Any) -> None:
    assert trained_text(tokenizer, ASK, REPLY) == REPLY.content + "<|im_end|>"


@pytest.mark.parametrize("tokenizer", TEMPLATES, indirect=True)
def test_every_answer_of_a_conversation_is_trained(tokenizer: Any) -> None:
    turns = (Turn("system", "짧게 답하세요."), ASK, REPLY, Turn("user", "And asthma?"), Turn("assistant", "Wheezing."))
    assert trained_text(tokenizer, *turns) == REPLY.content + "<|im_end|>" + "Wheezing.<|im_end|>"


@pytest.mark.parametrize("tokenizer", ["thinking"], indirect=True)
@pytest.mark.parametrize("words", ["a", "네", "<b>", "assistant"])
def test_an_answer_is_not_mistaken_for_the_same_words_elsewhere(words: str, tokenizer: Any) -> None:
    ask, reply = Turn("user", words), Turn("assistant", words)
    encoded = encode(tokenizer, Conversation((ask, reply, ask, reply), "f", 1), 512, end_token_ids(tokenizer, None))
    first = encode_prompt(tokenizer, (ask,))  # the earlier answer stands without the thinking block
    block = len(tokenizer("<think>\n\n</think>\n\n", add_special_tokens=False)["input_ids"])
    places = [i for i, t in enumerate(encoded.loss_mask) if t]
    assert places[0] == len(first) - block
    assert tokenizer.decode([encoded.ids[i] for i in places]) == f"{words}<|im_end|>" * 2


def test_a_syllable_of_several_tokens_at_the_border_is_trained_whole(tokenizer: Any) -> None:
    ask, reply = Turn("user", "뷁쀍"), Turn("assistant", "뷁쀍")
    assert len(tokenizer("뷁쀍", add_special_tokens=False)["input_ids"]) > 2
    assert trained_text(tokenizer, ask, reply) == "뷁쀍<|im_end|>"


def test_a_conversation_that_the_template_refuses_is_an_error_of_the_data(tokenizer: Any) -> None:
    def refused(template: str, said: str, *turns: Turn, tools: str = "") -> None:
        tokenizer.chat_template = template
        with pytest.raises(DataError, match=said):
            encode(tokenizer, Conversation(turns, "f", 1, tools=tools), 512, frozenset())

    refused(
        "{% if messages | length > 2 %}{{ raise_exception('one question') }}{% endif %}", "one question", ASK, REPLY, ASK, REPLY
    )
    refused(THINKING.replace("m.content", "m.content | upper"), "leaves out what the user", Turn("user", "abc"), REPLY)
    refused(THINKING, "does not support tools", ASK, REPLY, tools='[{"type": "function", "function": {"name": "f"}}]')
    refused(THINKING.replace("m.content", "m.content | upper"), "leaves out what the assistant", ASK, Turn("assistant", "abc"))


@pytest.mark.parametrize("tokenizer", TEMPLATES, indirect=True)
def test_what_is_asked_later_begins_byte_for_byte_like_what_was_trained(tokenizer: Any) -> None:
    encoded = encode(tokenizer, Conversation((ASK, REPLY), "f", 1), 512, end_token_ids(tokenizer, None))
    prompt = encode_prompt(tokenizer, (ASK,))
    assert list(encoded.ids[: len(prompt)]) == prompt
    assert not any(encoded.loss_mask[: len(prompt)]) and encoded.loss_mask[len(prompt)]


@pytest.mark.parametrize("tokenizer", ["begin"], indirect=True)
def test_the_begin_token_stands_once(tokenizer: Any) -> None:
    begin = tokenizer.convert_tokens_to_ids("<|endoftext|>")
    # tokenizers of Llama and Gemma put one before every text, the template writes another
    adding = TemplateProcessing(single="<|endoftext|> $A", special_tokens=[("<|endoftext|>", begin)])
    tokenizer.backend_tokenizer.post_processor = adding
    assert tokenizer("a")["input_ids"][0] == begin
    assert encode_prompt(tokenizer, (ASK,)).count(begin) == 1
    assert encode(tokenizer, Conversation((ASK, REPLY), "f", 1), 512, frozenset()).ids.tolist().count(begin) == 1


def test_the_end_is_trained_even_when_it_serves_as_padding(tokenizer: Any) -> None:
    tokenizer.pad_token = tokenizer.eos_token
    assert trained_text(tokenizer, ASK, REPLY).endswith("<|im_end|>")


def test_what_is_too_long_loses_its_beginning_and_never_its_end(tokenizer: Any) -> None:
    ends = end_token_ids(tokenizer, None)

    def made(turns: tuple[Turn, ...], length: int) -> Encoded:
        return encode(tokenizer, Conversation(turns, "f", 1), length, ends)

    one, more = ((ASK, REPLY), (Turn("system", "짧게."), Turn("user", "And asthma?"), Turn("assistant", "Wheezing."), ASK, REPLY))
    whole = made(one, 512)
    assert not whole.cut and made(one, len(whole.ids)) == whole
    rounds = made(more, len(made(more, 512).ids) - 1)  # the first round goes, the system stays
    assert rounds == replace(made((more[0], *one), 512), cut=True)
    assert made(more, len(whole.ids)) == replace(whole, cut=True)
    long = Turn("user", "옛날 옛적에 " * 40 + "무엇이 있었나요?")
    shortened = made((long, REPLY), 120)
    text = tokenizer.decode(shortened.ids)
    assert shortened.cut and len(shortened.ids) <= 120
    assert "무엇이 있었나요?" in text and text.rstrip().endswith(f"{REPLY.content}<|im_end|>")
    too_long = made((ASK, REPLY), whole.num_trained)
    assert too_long.num_trained == 0 and len(too_long.ids) == len(too_long.loss_mask) == whole.num_trained


@pytest.mark.parametrize("system", [(), (Turn("system", "Be kind."),)], ids=["", "system"])
@pytest.mark.parametrize("question", ["Write a guide.\n\nAbout oaks.", "Write.\n\n\n\nAbout oaks.", "a\n\nb", "Write a guide."])
def test_an_answer_that_is_too_long_alone_is_left_out_whatever_the_question_looks_like(
    question: str, system: tuple[Turn, ...], tokenizer: Any
) -> None:
    end_soon(tokenizer)
    turns = (*system, Turn("user", question), Turn("assistant", "Water the tree. " * 100))
    assert encode(tokenizer, Conversation(turns, "f", 1), 100, frozenset()).num_trained == 0
    assert len(encode_prompt(tokenizer, (*turns, Turn("user", question)), max_length=10)) == 10


def test_a_first_paragraph_that_leaves_no_room_is_cut_like_the_rest(tokenizer: Any) -> None:
    ask = Turn("user", "My grandmother told me about a tree. " * 6 + "\n\nWhich tree was it?")
    whole = encode(tokenizer, Conversation((ask, REPLY), "f", 1), 512, frozenset())
    short = encode(tokenizer, Conversation((ask, REPLY), "f", 1), len(whole.ids) - 30, frozenset())
    assert short.num_trained == whole.num_trained
    assert "about a tree. \n\nWhich tree was it?<|im_end|>" in tokenizer.decode(short.ids)


def end_soon(tokenizer: Any) -> None:
    """Fail where a tokenizer is asked for texts without end."""
    lay_out, times = tokenizer.apply_chat_template, iter(range(3000))

    def counted(*args: Any, **given: Any) -> Any:
        assert next(times, None) is not None, "it goes on without end"
        return lay_out(*args, **given)

    tokenizer.apply_chat_template = counted


def some_text(chance: random.Random, most_paragraphs: int) -> str:
    words = ("물", "고혈압이", "tree,", "뷁쀍", "a", "\n", "oak", "1234", "\n\n")
    paragraphs = [" ".join(chance.choices(words, k=chance.choice((1, 5, 60)))) for _ in range(chance.randint(1, most_paragraphs))]
    return chance.choice(("\n\n", "\n\n\n", "\r\n\r\n")).join(paragraphs).strip() or "물"


@pytest.mark.parametrize("seed", range(12))
def test_whatever_is_too_long_ends_with_the_answer_whole_and_loses_what_was_said_first(seed: int, tokenizer: Any) -> None:
    chance = random.Random(seed)
    end_soon(tokenizer)
    roles = [*["system"][: chance.randint(0, 1)], *["user", "assistant"] * chance.randint(1, 3)]
    turns = tuple(Turn(role, some_text(chance, 4 if role == "user" else chance.randint(1, 2))) for role in roles)

    def made(turns: tuple[Turn, ...], length: int) -> Encoded:
        return encode(tokenizer, Conversation(turns, "f", 1), length, end_token_ids(tokenizer, None))

    whole = made(turns, 10**6)
    asked, reply = turns[-2:]
    some_of_it = replace(asked, content=asked.content[-(len(asked.content) // 4 + 40) :].strip())
    enough = len(made((some_of_it, reply), 10**6).ids) + 8  # in pieces, words have some tokens more
    for length in {3, *chance.sample(range(4, len(whole.ids) + 2), k=min(8, len(whole.ids) - 4))}:
        found = made(turns, length)
        assert len(found.ids) <= length and found.cut == (len(whole.ids) > length)
        if not found.num_trained:
            assert length < enough
            continue
        parts = re.findall(r"<\|im_start\|>(\w+)\n(.*?)<\|im_end\|>", tokenizer.decode(found.ids), re.DOTALL)
        has_system = parts[0][0] == "system" and parts.pop(0) == ("system", turns[0].content)
        *later, (_, answered) = parts[1:]
        rest = [(turn.role, turn.content) for turn in turns if turn.role != "system"][-len(parts) :]
        assert (later, answered) == (rest[1:-1], reply.content)
        assert found.num_trained == made((asked, *turns[-len(parts) + 1 :]), 10**6).num_trained
        first, blank, _ = rest[0][1].partition("\n\n")
        question = parts[0][1]
        assert rest[0][1].endswith(question) or rest[0][1].endswith(question.removeprefix(first + blank))
        assert question == rest[0][1] or (len(parts) == 2 and not has_system and 8 * len(question) >= len(rest[0][1]))


def test_the_end_tokens_are_found_in_tokenizer_config_and_template(tokenizer: Any) -> None:
    end, other = tokenizer.convert_tokens_to_ids(["<|im_end|>", "<|endoftext|>"])
    assert end_token_ids(tokenizer, [other]) == {end, other}
    tokenizer.eos_token = "<|endoftext|>"  # as in base models whose template ends turns with another token
    assert end_token_ids(tokenizer, None) == {end, other}
    tokenizer.chat_template = THINKING.replace("loop.last", "false")  # the block stands in the prompt alone
    assert end_token_ids(tokenizer, None) == {end, other}


def test_a_tokenizer_splits_text_as_its_own_file_says(tmp_path: Path) -> None:
    corpus = ["2023 2024 1234567 12월 31일 it's don't 고혈압의 증상은 HELLO x3"] * 50
    file = Tokenizer(models.BPE())
    file.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)  # joins digits; Qwen's own rules never do
    file.train_from_iterator(corpus, trainers.BpeTrainer(vocab_size=600, special_tokens=["<end>"]))
    file.save(str(tmp_path / "tokenizer.json"))
    config = {"tokenizer_class": "GPT2Tokenizer", "eos_token": "<end>"}  # as skt/A.X-4.0-Light has it
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "qwen2"}))
    assert load_tokenizer(check_tokenizer(tmp_path))("2024", add_special_tokens=False)["input_ids"] == file.encode("2024").ids
    # Should this fail, transformers keeps to the file by itself: splits_as_its_file_says can go, and this
    # test with it.
    assert not splits_as_its_file_says(AutoTokenizer.from_pretrained(tmp_path), tmp_path)


@pytest.mark.parametrize("sign", ["<|im_end|>", "<|endoftext|>"])
def test_a_text_with_the_models_own_signs_is_refused_instead_of_ending_a_turn(sign: str, tokenizer: Any) -> None:
    for turns in ((Turn("user", f"a {sign} b"), REPLY), (ASK, Turn("assistant", f"a{sign}b"))):
        with pytest.raises(DataError, match="special token of this model"):
            encode(tokenizer, Conversation(turns, "f", 1), 512, end_token_ids(tokenizer, None))


def test_a_template_without_an_end_still_teaches_one(tokenizer: Any) -> None:
    turns = "{% for m in messages %}{{ m.role + ': ' + m.content + '\\n' }}{% endfor %}"
    tokenizer.chat_template = turns + "{% if add_generation_prompt %}{{ 'assistant: ' }}{% endif %}"
    encoded = encode(tokenizer, Conversation((ASK, REPLY), "f", 1), 512, end_token_ids(tokenizer, None))
    assert encoded.ids[-1] == tokenizer.eos_token_id and encoded.loss_mask[-1]


def test_a_long_conversation_that_nobody_asked_has_nothing_trained(tokenizer: Any) -> None:
    turns = (Turn("tool", "말 " * 300), Turn("assistant", "b"))
    assert encode(tokenizer, Conversation(turns, "f", 1), 50, end_token_ids(tokenizer, None)).num_trained == 0


def test_an_answer_that_is_only_read_is_not_trained(tokenizer: Any) -> None:
    turns = (ASK, replace(REPLY, is_trained=False), Turn("user", "And asthma?"), Turn("assistant", "Wheezing."))
    assert trained_text(tokenizer, *turns) == "Wheezing.<|im_end|>"


@pytest.mark.parametrize("write", ["strftime_now('%d %b %Y')", 'strftime_now("%Y-%m-%d")'])
def test_a_template_with_the_date_gives_the_same_tokens_tomorrow(write: str) -> None:
    tokenizer = load_tokenizer(check_tokenizer(DEMO_MODEL))
    dated = "{{ 'Today: ' + " + write + " + '\n' }}" + tokenizer.chat_template
    tokenizer.chat_template = with_fixed_date(dated)
    assert is_date_fixed(tokenizer.chat_template) and not is_date_fixed(with_fixed_date(DEFAULT_TEMPLATE))
    text = tokenizer.decode(encode_prompt(tokenizer, (ASK,)))
    assert "26 Jul 2024" in text or "2024-07-26" in text
    assert with_fixed_date(tokenizer.chat_template) == tokenizer.chat_template


@pytest.mark.parametrize("length", [90, 60, 40])
def test_what_is_too_long_is_asked_as_it_was_trained(length: int, tokenizer: Any) -> None:
    """A long talk loses its earliest rounds in `chat` as in training."""
    rounds = [turn for i in range(6) for turn in (Turn("user", f"{i}번째 질문입니다. 무엇인가요?"), Turn("assistant", f"답 {i}"))]
    turns = (Turn("system", "짧게 답하세요."), *rounds)
    trained = encode(tokenizer, Conversation(turns, "f", 1), length, end_token_ids(tokenizer, None))
    answer = max(i for i in range(1, len(trained.ids)) if not trained.loss_mask[i - 1] and trained.loss_mask[i])
    asked = encode_prompt(tokenizer, turns[:-1], max_length=answer)
    assert trained.cut and list(trained.ids[:answer]) == asked
    assert "5번째" in tokenizer.decode(asked) and "0번째" not in tokenizer.decode(asked)
