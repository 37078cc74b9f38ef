"""Which tokens are trained, told by hand for every family of chat templates: text between ⟦ and ⟧ is trained,
the rest is not.

The templates beside this file are short, but do what the published ones do. The tokenizer makes every word,
blank, line break and mark of the family one token, so that the numbers beside the texts can be counted by a
reader.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from tokenizers import AddedToken, Regex, Tokenizer, models, pre_tokenizers
from tokenizers.processors import TemplateProcessing
from transformers import PreTrainedTokenizerFast

from nuguna.data.conversations.conversation import Conversation, Turn
from nuguna.errors import DataError
from nuguna.tokens.encode import Encoded, encode, encode_prompt
from nuguna.tokens.laid_out import end_token_ids
from nuguna.tokens.template import DEFAULT_TEMPLATE, with_thinking

TEMPLATES = Path(__file__).parent / "templates"
UNKNOWN = "[UNK]"


@dataclass(frozen=True)
class Family:
    """The marks of a family: `special` as its tokenizer has them, `plain` added but not special, as Qwen3 has
    its <think>.
    """

    special: str
    eos: str
    turn_end: str
    bos: str = ""
    plain: str = ""


CHATML = "<|im_start|> <|im_end|> <|endoftext|>"
THINK = "<think> </think>"
TOOL = "<tool_call> </tool_call> <tool_response> </tool_response>"
R1 = Family("<｜User｜> <｜Assistant｜>", "<｜end▁of▁sentence｜>", "<｜end▁of▁sentence｜>", "<｜begin▁of▁sentence｜>", THINK)
GEMMA = Family("<start_of_turn> <end_of_turn>", "<eos>", "<end_of_turn>", "<bos>")
FAMILIES = {
    "qwen2.5": Family(CHATML, "<|im_end|>", "<|im_end|>"),
    "llama2": Family("", "</s>", "</s>", "<s>"),  # [INST] and <<SYS>> are plain text there
    "llama3": Family("<|start_header_id|> <|end_header_id|> <|eot_id|>", "<|end_of_text|>", "<|eot_id|>", "<|begin_of_text|>"),
    "gemma2": GEMMA,
    "gemma3": GEMMA,
    "mistral_v3": Family("[INST] [/INST]", "</s>", "</s>", "<s>"),
    "phi3": Family("<|system|> <|user|> <|assistant|> <|end|>", "<|endoftext|>", "<|end|>"),
    "qwen3": Family(CHATML, "<|im_end|>", "<|im_end|>", plain=f"{THINK} {TOOL}"),
    "deepseek_r1_like": R1,
    "deepseek_r1": R1,
    "dialogpt": Family("", "<|endoftext|>", "<|endoftext|>"),
    "zephyr": Family("", "</s>", "</s>"),  # its roles are plain text; it has a begin token, which the template does not write
    "smollm3": Family(CHATML, "<|im_end|>", "<|im_end|>", plain=THINK),
}

KIND, HI, BYE = Turn("system", "Be kind"), Turn("user", "Hi"), Turn("user", "Bye now")
HELLO, SEE_YOU = Turn("assistant", "Hello there"), Turn("assistant", "See you")
THOUGHTFUL_HELLO = Turn("assistant", "Hello there", reasoning="They greet")
THOUGHTFUL_SEE_YOU = Turn("assistant", "See you", reasoning="They leave")
CLOCK = {"type": "function", "function": {"name": "clock"}}
CALL = json.dumps([{"type": "function", "function": {"name": "clock", "arguments": {}}}])
TIME, NOON, ANSWER = (Turn("user", "Time please"), Turn("tool", "Noon", name="clock"), Turn("assistant", "It is noon"))
CONVERSATIONS = {
    "one": (HI, HELLO),
    "system": (KIND, HI, HELLO),
    "two": (HI, HELLO, BYE, SEE_YOU),
    "system two": (KIND, HI, HELLO, BYE, SEE_YOU),
    "thought": (HI, THOUGHTFUL_HELLO),
    "thought two": (HI, THOUGHTFUL_HELLO, BYE, THOUGHTFUL_SEE_YOU),
    "thought last": (HI, HELLO, BYE, THOUGHTFUL_SEE_YOU),
    "thought first": (HI, THOUGHTFUL_HELLO, BYE, SEE_YOU),
    "tool": (TIME, Turn("assistant", "", tool_calls=CALL), NOON, ANSWER),
    "tool words": (TIME, Turn("assistant", "See you", tool_calls=CALL), NOON, ANSWER),
    "tool thought": (
        TIME,
        Turn("assistant", "", reasoning="Look it up", tool_calls=CALL),
        NOON,
        Turn("assistant", "It is noon", reasoning="It says noon"),
    ),
}

QWEN = "<|im_start|>system\nYou are Qwen, created by Alibaba Cloud. You are a helpful assistant.<|im_end|>\n"
TOOLS = json.dumps([CLOCK])
TOOLS_SHOWN = '<|im_start|>system\n# Tools\n\n<tools>\n{"type": "function", "function": {"name": "clock"}}\n</tools><|im_end|>\n'
CALLED = '<tool_call>\n{"name": "clock", "arguments": {}}\n</tool_call>'
SMOL = "<|im_start|>system\n## Metadata\n\nReasoning Mode: /no_think\n\n## Custom Instructions\n\n"
BOS, EOS = "<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>"

# (family, conversation) → the text with its trained parts marked, and how many tokens are trained
EXPECTED: dict[tuple[str, str], tuple[str, int]] = {
    ("qwen2.5", "one"): (
        QWEN + "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n⟦Hello there<|im_end|>⟧\n",
        4,  # Hello, blank, there, <|im_end|>
    ),
    ("qwen2.5", "system two"): (
        "<|im_start|>system\nBe kind<|im_end|>\n"
        "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n⟦Hello there<|im_end|>⟧\n"
        "<|im_start|>user\nBye now<|im_end|>\n<|im_start|>assistant\n⟦See you<|im_end|>⟧\n",
        8,
    ),
    # the blanks around the answer are the model's own: its prompt ends with [/INST]
    ("llama2", "one"): ("<s>[INST] Hi [/INST]⟦ Hello there </s>⟧", 6),
    ("llama2", "system two"): (
        "<s>[INST] <<SYS>>\nBe kind\n<</SYS>>\n\nHi [/INST]⟦ Hello there </s>⟧<s>[INST] Bye now [/INST]⟦ See you </s>⟧",
        12,
    ),
    ("llama3", "one"): (
        "<|begin_of_text|><|start_header_id|>user<|end_header_id|>\n\nHi<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\n⟦Hello there<|eot_id|>⟧",
        4,
    ),
    ("llama3", "system two"): (
        "<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\nBe kind<|eot_id|>"
        "<|start_header_id|>user<|end_header_id|>\n\nHi<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\n⟦Hello there<|eot_id|>⟧"
        "<|start_header_id|>user<|end_header_id|>\n\nBye now<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\n⟦See you<|eot_id|>⟧",
        8,
    ),
    ("gemma2", "one"): ("<bos><start_of_turn>user\nHi<end_of_turn>\n<start_of_turn>model\n⟦Hello there<end_of_turn>⟧\n", 4),
    # its template refuses system messages: they stand before the first question, as in the template of Gemma
    # 3
    ("gemma2", "system"): (
        "<bos><start_of_turn>user\nBe kind\n\nHi<end_of_turn>\n<start_of_turn>model\n⟦Hello there<end_of_turn>⟧\n",
        4,
    ),
    ("gemma2", "two"): (
        "<bos><start_of_turn>user\nHi<end_of_turn>\n<start_of_turn>model\n⟦Hello there<end_of_turn>⟧\n"
        "<start_of_turn>user\nBye now<end_of_turn>\n<start_of_turn>model\n⟦See you<end_of_turn>⟧\n",
        8,
    ),
    ("gemma3", "one"): ("<bos><start_of_turn>user\nHi<end_of_turn>\n<start_of_turn>model\n⟦Hello there<end_of_turn>⟧\n", 4),
    ("gemma3", "system two"): (
        "<bos><start_of_turn>user\nBe kind\n\nHi<end_of_turn>\n<start_of_turn>model\n⟦Hello there<end_of_turn>⟧\n"
        "<start_of_turn>user\nBye now<end_of_turn>\n<start_of_turn>model\n⟦See you<end_of_turn>⟧\n",
        8,
    ),
    ("mistral_v3", "one"): ("<s>[INST] Hi[/INST]⟦ Hello there</s>⟧", 5),
    ("mistral_v3", "two"): ("<s>[INST] Hi[/INST]⟦ Hello there</s>⟧[INST] Bye now[/INST]⟦ See you</s>⟧", 10),
    # The template drops the system message once the answer is there. Right is what the model reads when it
    # answers.
    ("mistral_v3", "system"): ("<s>[INST] Be kind\n\nHi[/INST]⟦ Hello there</s>⟧", 5),
    ("mistral_v3", "system two"): ("<s>[INST] Hi[/INST]⟦ Hello there</s>⟧[INST] Be kind\n\nBye now[/INST]⟦ See you</s>⟧", 10),
    ("phi3", "one"): ("<|user|>\nHi<|end|>\n<|assistant|>\n⟦Hello there<|end|>⟧\n<|endoftext|>", 4),
    ("phi3", "system two"): (
        "<|system|>\nBe kind<|end|>\n<|user|>\nHi<|end|>\n<|assistant|>\n⟦Hello there<|end|>⟧\n"
        "<|user|>\nBye now<|end|>\n<|assistant|>\n⟦See you<|end|>⟧\n<|endoftext|>",
        8,
    ),
    ("dialogpt", "one"): ("Hi<|endoftext|>⟦Hello there<|endoftext|>⟧", 4),
    ("dialogpt", "system two"): (
        "Be kind<|endoftext|>Hi<|endoftext|>⟦Hello there<|endoftext|>⟧Bye now<|endoftext|>⟦See you<|endoftext|>⟧",
        8,
    ),
    ("zephyr", "one"): ("<|user|>\nHi</s>\n<|assistant|>\n⟦Hello there</s>⟧\n", 4),
    ("zephyr", "system two"): (
        "<|system|>\nBe kind</s>\n<|user|>\nHi</s>\n<|assistant|>\n⟦Hello there</s>⟧\n"
        "<|user|>\nBye now</s>\n<|assistant|>\n⟦See you</s>⟧\n",
        8,
    ),
    # the template's own marks take in the head of the turn and the line break after it; neither is the
    # model's to say
    ("smollm3", "one"): (
        SMOL + "You are SmolLM.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n"
        "<|im_start|>assistant\n<think>\n\n</think>\n⟦Hello there<|im_end|>⟧\n",
        4,
    ),
    ("smollm3", "system two"): (
        SMOL + "Be kind<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n"
        "<|im_start|>assistant\n<think>\n\n</think>\n⟦Hello there<|im_end|>⟧\n"
        "<|im_start|>user\nBye now<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n⟦See you<|im_end|>⟧\n",
        8,
    ),
    # Qwen3 without thinking: the empty block is part of the prompt; earlier answers stand without it
    ("qwen3", "one"): (
        "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n⟦Hello there<|im_end|>⟧\n",
        4,
    ),
    ("qwen3", "system two"): (
        "<|im_start|>system\nBe kind<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n⟦Hello there<|im_end|>⟧\n"
        "<|im_start|>user\nBye now<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n⟦See you<|im_end|>⟧\n",
        8,
    ),
    # with thinking the prompt ends with the head, and the whole block is the model's
    ("qwen3", "thought"): (
        "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n⟦<think>\nThey greet\n</think>\n\nHello there<|im_end|>⟧\n",
        13,  # <think>, break, They, blank, greet, break, </think>, break, break, and four as above
    ),
    # The template shows no reasoning before the last question. What is left of that turn must not be trained:
    # it stands right behind the prompt of a model that is to think, and would teach it to answer without.
    ("qwen3", "thought two"): (
        "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\nHello there<|im_end|>\n"
        "<|im_start|>user\nBye now<|im_end|>\n<|im_start|>assistant\n"
        "⟦<think>\nThey leave\n</think>\n\nSee you<|im_end|>⟧\n",
        13,
    ),
    ("qwen3", "thought last"): (
        "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n⟦Hello there<|im_end|>⟧\n"
        "<|im_start|>user\nBye now<|im_end|>\n<|im_start|>assistant\n"
        "⟦<think>\nThey leave\n</think>\n\nSee you<|im_end|>⟧\n",
        17,
    ),
    # a model that is asked to think says by itself that there is nothing to think about
    ("qwen3", "thought first"): (
        "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\nHello there<|im_end|>\n"
        "<|im_start|>user\nBye now<|im_end|>\n<|im_start|>assistant\n⟦<think>\n\n</think>\n\nSee you<|im_end|>⟧\n",
        10,  # a block without words has 6 tokens
    ),
    ("qwen3", "tool"): (
        TOOLS_SHOWN + "<|im_start|>user\nTime please<|im_end|>\n<|im_start|>assistant\n⟦" + CALLED + "<|im_end|>⟧\n"
        "<|im_start|>user\n<tool_response>\nNoon\n</tool_response><|im_end|>\n"
        "<|im_start|>assistant\n<think>\n\n</think>\n\n⟦It is noon<|im_end|>⟧\n",
        # <tool_call>, break, {"name":, blank, "clock",, blank, "arguments":, blank, {}}, break, </tool_call>,
        # end: 12; 6
        18,
    ),
    ("qwen3", "tool words"): (
        TOOLS_SHOWN + "<|im_start|>user\nTime please<|im_end|>\n"
        "<|im_start|>assistant\n⟦See you\n" + CALLED + "<|im_end|>⟧\n"
        "<|im_start|>user\n<tool_response>\nNoon\n</tool_response><|im_end|>\n"
        "<|im_start|>assistant\n<think>\n\n</think>\n\n⟦It is noon<|im_end|>⟧\n",
        22,  # See, blank, you, break, and 18 as above
    ),
    ("qwen3", "tool thought"): (
        TOOLS_SHOWN + "<|im_start|>user\nTime please<|im_end|>\n"
        "<|im_start|>assistant\n⟦<think>\nLook it up\n</think>\n\n" + CALLED + "<|im_end|>⟧\n"
        "<|im_start|>user\n<tool_response>\nNoon\n</tool_response><|im_end|>\n"
        "<|im_start|>assistant\n⟦<think>\nIt says noon\n</think>\n\nIt is noon<|im_end|>⟧\n",
        40,  # a block of three words has 11 tokens: 11 + 12 + 11 + 6
    ),
    # The prompt opens the block; the model closes it, even when there is nothing in it.
    ("deepseek_r1_like", "one"): (
        BOS + "<｜User｜>Hi<｜Assistant｜><think>\n⟦\n</think>\n\nHello there" + EOS + "⟧",
        8,  # break, </think>, break, break, Hello, blank, there, end
    ),
    ("deepseek_r1_like", "system two"): (
        BOS + "Be kind<｜User｜>Hi<｜Assistant｜>⟦Hello there" + EOS + "⟧"
        "<｜User｜>Bye now<｜Assistant｜><think>\n⟦\n</think>\n\nSee you" + EOS + "⟧",
        12,
    ),
    ("deepseek_r1_like", "thought"): (
        BOS + "<｜User｜>Hi<｜Assistant｜><think>\n⟦They greet\n</think>\n\nHello there" + EOS + "⟧",
        11,  # They, blank, greet, break, </think>, break, break, and four
    ),
    ("deepseek_r1_like", "thought two"): (  # as with Qwen3: what lost its reasoning is not trained
        BOS + "<｜User｜>Hi<｜Assistant｜>Hello there" + EOS + "<｜User｜>Bye now<｜Assistant｜><think>\n"
        "⟦They leave\n</think>\n\nSee you" + EOS + "⟧",
        11,
    ),
}
CASES = [pytest.param(*key, id="-".join(key).replace(" ", "_")) for key in EXPECTED]
ROUNDS = [case for case in CASES if "two" in str(case.values[1])]


def pieces(family: Family, text: str) -> list[str]:
    """Words, blanks and line breaks of a text, without the family's marks."""
    marks = "|".join(map(re.escape, f"{family.special} {family.plain} {family.bos} {family.eos} ⟦ ⟧".split()))
    return [piece for part in re.split(marks, text) for piece in re.findall(r"\s|\S+", part)]


@cache
def make_tokenizer(name: str, thinks: bool = False) -> Any:
    """Return a tokenizer of whole words that knows all words of the texts, and those by which end tokens are
    probed.
    """
    family = FAMILIES[name]
    words = dict.fromkeys(
        [UNKNOWN, "a", "bbbb", "/think", *(piece for text, _ in EXPECTED.values() for piece in pieces(family, text))]
    )
    backend = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token=UNKNOWN))
    backend.pre_tokenizer = pre_tokenizers.Split(Regex(r"\s"), "isolated")
    special = dict.fromkeys(f"{family.special} {family.bos} {family.eos}".split())
    backend.add_special_tokens([AddedToken(mark, special=True, normalized=False) for mark in special])
    backend.add_tokens([AddedToken(mark, special=False, normalized=False) for mark in family.plain.split()])
    loaded = PreTrainedTokenizerFast(
        tokenizer_object=backend, unk_token=UNKNOWN, eos_token=family.eos, bos_token=family.bos or None
    )
    # as tokenizers of Llama, Gemma and Mistral do: one before every text, though the template writes another
    if family.bos:
        begin = (family.bos, backend.token_to_id(family.bos))
        loaded.backend_tokenizer.post_processor = TemplateProcessing(single=f"{family.bos} $A", special_tokens=[begin])
    file = TEMPLATES / f"{name}.jinja"
    template = DEFAULT_TEMPLATE if name == "dialogpt" else file.read_text(encoding="utf-8")
    loaded.chat_template = with_thinking(template, is_on=thinks)
    return loaded


def tokenizer_for(name: str, turns: Sequence[Turn]) -> Any:
    """Return the family's tokenizer, its template set to think if the conversation does."""
    return make_tokenizer(name, any(turn.reasoning for turn in turns))


def tools_for(turns: Sequence[Turn]) -> str:
    return TOOLS if any(turn.tool_calls for turn in turns) else ""


def encode_turns(name: str, *turns: Turn) -> Encoded:
    tokenizer = tokenizer_for(name, turns)
    return encode(tokenizer, Conversation(turns, "f", 1, tools=tools_for(turns)), 512, end_token_ids(tokenizer, None))


def marked(name: str, encoded: Encoded) -> str:
    """Return the text of an example, with ⟦ and ⟧ around every run of trained tokens."""
    tokens = make_tokenizer(name).convert_ids_to_tokens(encoded.ids)
    parts, inside = [], False
    for token, trained in zip(tokens, encoded.loss_mask, strict=True):
        parts += [("⟦" if trained else "⟧") if trained != inside else "", token]
        inside = trained
    return "".join(parts) + ("⟧" if inside else "")


@pytest.mark.parametrize(("name", "conversation"), CASES)
def test_exactly_these_tokens_are_trained(name: str, conversation: str) -> None:
    encoded = encode_turns(name, *CONVERSATIONS[conversation])
    text, count = EXPECTED[name, conversation]
    assert marked(name, encoded) == text
    assert encoded.num_trained == count
    assert not encoded.cut


@pytest.mark.parametrize(("name", "conversation"), ROUNDS)
def test_words_that_question_and_answer_share_are_not_mistaken(name: str, conversation: str) -> None:
    """Each question asks for the very words of its answer."""
    turns = [
        Turn(turn.role, {"Hi": "Hello there", "Bye now": "See you"}.get(turn.content, turn.content), turn.reasoning)
        for turn in CONVERSATIONS[conversation]
    ]
    text, count = EXPECTED[name, conversation]
    encoded = encode_turns(name, *turns)
    assert marked(name, encoded) == text.replace("Hi", "Hello there").replace("Bye now", "See you")
    assert encoded.num_trained == count


@pytest.mark.parametrize(("name", "conversation"), ROUNDS)
def test_an_answer_given_twice_is_trained_twice(name: str, conversation: str) -> None:
    """Question and answer are the same one word, in both rounds and in the system message."""
    words = {turn.content: "you" for turn in CONVERSATIONS[conversation]}
    turns = [Turn(turn.role, words[turn.content], turn.reasoning) for turn in CONVERSATIONS[conversation]]
    text, count = EXPECTED[name, conversation]
    for before in words:
        text = text.replace(before, "you")
    encoded = encode_turns(name, *turns)
    assert marked(name, encoded) == text
    assert encoded.num_trained == count - 2 * text.count("⟦")  # each answer is a blank and a word shorter


@pytest.mark.parametrize("name", ["llama2", "llama3", "gemma2", "gemma3", "mistral_v3"])
def test_blanks_around_an_answer_do_no_harm_where_the_template_trims_them(name: str) -> None:
    plain = CONVERSATIONS["two"]
    padded = [Turn(turn.role, f" {turn.content}\n" if turn.role == "assistant" else turn.content) for turn in plain]
    assert marked(name, encode_turns(name, *padded)) == marked(name, encode_turns(name, *plain))


@pytest.mark.parametrize("name", ["llama2", "llama3", "gemma2", "gemma3"])
def test_blanks_around_a_question_do_no_harm_where_the_template_trims_them(name: str) -> None:
    tokenizer = make_tokenizer(name)
    assert encode_prompt(tokenizer, (Turn("user", "Hi\n"),)) == encode_prompt(tokenizer, (HI,))


@pytest.mark.parametrize(("name", "conversation"), CASES)
def test_the_last_answer_follows_the_prompt_that_is_asked_later(name: str, conversation: str) -> None:
    turns = CONVERSATIONS[conversation]
    encoded = encode_turns(name, *turns)
    prompt = encode_prompt(tokenizer_for(name, turns), turns[:-1], tools_for(turns))
    assert list(encoded.ids[: len(prompt)]) == prompt
    assert encoded.loss_mask[len(prompt)] and not encoded.loss_mask[len(prompt) - 1]


@pytest.mark.parametrize("name", [name for name, family in FAMILIES.items() if family.bos])
def test_the_begin_token_stands_once(name: str) -> None:
    tokenizer = make_tokenizer(name)
    begin = tokenizer.bos_token_id
    assert tokenizer("a")["input_ids"] == [begin, tokenizer.convert_tokens_to_ids("a")]  # by itself it would add another
    encoded = encode_turns(name, HI, HELLO)
    assert encoded.ids[0] == begin and encoded.ids.tolist().count(begin) == 1
    # Llama 2 begins every round anew (chat_completion in Meta's llama/generation.py)
    assert encode_turns(name, HI, HELLO, BYE, SEE_YOU).ids.tolist().count(begin) == (2 if name == "llama2" else 1)


@pytest.mark.parametrize("name", FAMILIES)
def test_the_end_of_a_turn_is_found_and_trained(name: str) -> None:
    tokenizer, family = make_tokenizer(name), FAMILIES[name]
    end, eos = tokenizer.convert_tokens_to_ids([family.turn_end, family.eos])
    assert end_token_ids(tokenizer, None) == {end, eos}
    assert end_token_ids(tokenizer, [0]) == {end, eos, 0}
    encoded = encode_turns(name, HI, HELLO, BYE, SEE_YOU)
    assert [i for i, t in zip(encoded.ids, encoded.loss_mask, strict=True) if t and i in (end, eos)] == [end, end]


@pytest.mark.parametrize("name", ["deepseek_r1", "smollm3"])
def test_reasoning_that_the_template_leaves_out_is_not_lost_in_silence(name: str) -> None:
    """These models think, but their templates ignore `reasoning_content`: trained all the same, or said to be
    impossible.
    """
    try:
        text = marked(name, encode_turns(name, HI, THOUGHTFUL_HELLO))
    except DataError:
        return
    trained = text[text.index("⟦") :]
    assert trained.index("They greet") < trained.index("</think>") < trained.index("Hello there")


def test_a_model_whose_prompt_opens_the_reasoning_is_trained_from_there() -> None:
    """DeepSeek-R1 shows no answer with reasoning, yet always asks with <think>: `ask` must find what training
    has seen.
    """
    prompt = encode_prompt(make_tokenizer("deepseek_r1"), (HI,))
    encoded = encode_turns("deepseek_r1", HI, HELLO)
    assert list(encoded.ids[: len(prompt)]) == prompt
    assert encoded.loss_mask[len(prompt)] and not any(encoded.loss_mask[: len(prompt)])
    assert marked("deepseek_r1", encoded).endswith(f"Hello there{EOS}⟧")


def test_an_answer_that_the_template_shortens_does_not_bring_the_whole_conversation_into_itself() -> None:
    """DeepSeek-R1 cuts everything up to </think>, so that the answer is not found in the text as it was
    given.
    """
    cut = Turn("assistant", "They greet\n</think>\n\nHello there")
    try:
        text = marked("deepseek_r1", encode_turns("deepseek_r1", HI, cut))
    except DataError:
        return
    assert text.count("Hi") == text.count("Hello there") == text.count(BOS) == 1
