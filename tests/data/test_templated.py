"""Texts that contain a chat template: taken apart, they give the turns they were made of; whatever is in
doubt is refused.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence

import pytest

from nuguna.data.conversations.conversation import Turn
from nuguna.data.conversations.templated import find_template, parse_turns
from nuguna.message import Message

Render = Callable[[Sequence[Turn]], str]
SYSTEM = Turn("system", "짧게 답하세요.\nBe brief: [one] sentence, # no headings.")
DOCTOR = Turn("system", "A chat between a doctor and a patient: [short] sentences, # no headings.")
KOREAN = (
    Turn("user", "고혈압이란?\n\n- 원인: [1]\n# 증상"),
    Turn("assistant", "혈압이 높은 상태입니다:\n\n## 정리\n- <수축기> 140"),
)
ENGLISH = (
    Turn("user", "Write `a[0] = {b: 1}`.\n#include <x>\nNote: (two) lines | three"),
    Turn("assistant", "Sure!\n\n### Code: part one\n\n[link](http://a.b/c#d)\nUser story: done; 5 < 6 > 4 && x<s>y"),
)
CONVERSATIONS = {
    "Korean": KOREAN,
    "English": ENGLISH,
    "several turns": KOREAN + ENGLISH + KOREAN,
    "one word": (Turn("user", "Hi"), Turn("assistant", "네")),
}


def llama_2(turns: Sequence[Turn], begin: str = "<s>", end: str = " </s>") -> str:
    text, system = "", ""
    for turn in turns:
        if turn.role == "system":
            system = f"<<SYS>>\n{turn.content}\n<</SYS>>\n\n"
        elif turn.role == "user":
            text += f"{begin}[INST] {system}{turn.content} [/INST]"
            system = ""
        else:
            text += f" {turn.content}{end}"
    return text


def mistral(turns: Sequence[Turn]) -> str:
    return "<s>" + llama_2(turns, begin="", end="</s>")


def bare_llama_2(turns: Sequence[Turn]) -> str:
    return llama_2(turns, begin="", end="\n")


def only_begin_tokens(turns: Sequence[Turn]) -> str:
    return llama_2(turns, end=" ")


def tagged(before: str, after: str, close: str, begin: str = "", end: str = "", assistant: str = "assistant") -> Render:
    def render(turns: Sequence[Turn]) -> str:
        names = {"assistant": assistant}
        return begin + "".join(before + names.get(t.role, t.role) + after + t.content + close for t in turns) + end

    return render


def zephyr(turns: Sequence[Turn]) -> str:
    """As the model's authors do: a system turn always, empty where there is none."""
    turns = turns if turns[0].role == "system" else (Turn("system", ""), *turns)
    return tagged("<|", "|>\n", "</s>\n")(turns)


def without_last_token(render: Render, token: str) -> Render:
    return lambda turns: render(turns).rstrip().removesuffix(token)


def labelled(user: str, assistant: str, between: str, after: str = "", system: str = "", end: str = "") -> Render:
    def render(turns: Sequence[Turn]) -> str:
        labels = {"user": user, "assistant": assistant, "system": system}
        texts = [labels[t.role] + t.content + (after if t.role == "assistant" else "") for t in turns]
        return between.join(texts) + end

    return render


def vicuna(turns: Sequence[Turn]) -> str:
    usual = (
        "A chat between a curious user and an artificial intelligence assistant. "
        "The assistant gives helpful, detailed, and polite answers to the user's questions."
    )
    text = (usual if turns[0].role != "system" else turns[0].content) + " "
    for turn in turns:
        text += {"user": f"USER: {turn.content} ", "assistant": f"ASSISTANT: {turn.content}</s>", "system": ""}[turn.role]
    return text


def after_preamble(preamble: str, render: Render) -> Render:
    return lambda turns: preamble + render(turns)


ALPACA = "Below is an instruction that describes a task. Write a response that appropriately completes the request.\n\n"
KULLM = "아래는 작업을 설명하는 명령어입니다. 요청을 적절히 완료하는 응답을 작성하세요.\n\n"
KOALPACA = (
    "Below is an instruction that describes a task.\n아래는 작업을 설명하는 명령어입니다.\n\n"
    "Write a response that appropriately completes the request.\n요청을 적절히 완료하는 응답을 작성하세요.\n\n"
)
CHATML, LLAMA_3 = (
    tagged("<|im_start|>", "\n", "<|im_end|>\n"),
    tagged("<|start_header_id|>", "<|end_header_id|>\n\n", "<|eot_id|>"),
)
INSTRUCTION = labelled("### Instruction:\n", "### Response:\n", "\n\n", end="\n</s>")
# (template, way of writing it, a system turn where that way has one)
WAYS: dict[str, tuple[str, Render, Turn | None]] = {
    "llama-2": ("llama-2", llama_2, SYSTEM),
    "llama-2 mistral": ("llama-2", mistral, SYSTEM),
    "llama-2 bare": ("llama-2", bare_llama_2, SYSTEM),
    "llama-2 only begin tokens": ("llama-2", only_begin_tokens, SYSTEM),
    "chatml": ("chatml", CHATML, SYSTEM),
    "chatml CRLF": ("chatml", tagged("<|im_start|>", "\r\n", "<|im_end|>\r\n", end="<|endoftext|>"), SYSTEM),
    "chatml cut": ("chatml", without_last_token(CHATML, "<|im_end|>"), SYSTEM),
    "llama-3": ("llama-3", tagged("<|start_header_id|>", "<|end_header_id|>\n\n", "<|eot_id|>", "<|begin_of_text|>"), SYSTEM),
    "llama-3 bare": ("llama-3", LLAMA_3, SYSTEM),
    "llama-3 other end": ("llama-3", lambda turns: LLAMA_3(turns).removesuffix("<|eot_id|>") + "<|end_of_text|>", SYSTEM),
    "gemma": ("gemma", tagged("<start_of_turn>", "\n", "<end_of_turn>\n", "<bos>", "<eos>", assistant="model"), SYSTEM),
    "phi-3": ("phi-3", tagged("<|", "|>\n", "<|end|>\n", "<s>", "<|endoftext|>"), SYSTEM),
    "phi-3 one line": ("phi-3", tagged("<|", "|>", "<|end|>"), SYSTEM),
    "zephyr": ("zephyr", zephyr, SYSTEM),
    "zephyr cut": ("zephyr", without_last_token(zephyr, "</s>"), SYSTEM),
    "zephyr stablelm": ("zephyr", tagged("<|", "|>\n", "<|endoftext|>\n"), SYSTEM),
    "alpaca": ("alpaca", after_preamble(ALPACA, INSTRUCTION), None),
    "alpaca bare": ("alpaca", INSTRUCTION, None),
    "alpaca KULLM": ("alpaca", after_preamble(KULLM, labelled("### 명령어:\n", "### 응답:\n", "\n\n")), None),
    "alpaca 지시": ("alpaca", labelled("### 지시사항:\n", "### 응답:\n", "\n\n"), None),
    "alpaca KoAlpaca": ("alpaca", labelled("### 질문: ", "### 답변: ", "\n\n", end="<|endoftext|>"), None),
    "alpaca KoAlpaca bilingual": (
        "alpaca",
        after_preamble(KOALPACA, labelled("### Instruction(명령어):\n", "### Response(응답):", "\n\n")),
        None,
    ),
    "vicuna": ("vicuna", vicuna, DOCTOR),
    "vicuna bare": ("vicuna", labelled("USER: ", "ASSISTANT: ", "\n", after="</s>"), None),
    "human-assistant guanaco": ("human-assistant", labelled("### Human: ", "### Assistant: ", ""), None),
    "human-assistant SOLAR": (
        "human-assistant",
        labelled("### User:\n", "### Assistant:\n", "\n\n", system="### System:\n", end="</s>"),
        SYSTEM,
    ),
    "human-assistant v0": (
        "human-assistant",
        after_preamble("A chat between a human and an assistant.\n\n", labelled("### Human: ", "### Assistant: ", "\n")),
        None,
    ),
    "human-assistant HH": ("human-assistant", labelled("\n\nHuman: ", "\n\nAssistant: ", "", system="System: "), SYSTEM),
    "human-assistant lines": ("human-assistant", labelled("Human: ", "Assistant: ", "\n", after="\n"), None),
}


@pytest.mark.parametrize("conversation", CONVERSATIONS)
@pytest.mark.parametrize(
    ("way", "system"), [*((way, ()) for way in WAYS), *((way, (system,)) for way, (_, _, system) in WAYS.items() if system)]
)
def test_what_was_rendered_is_parsed_again(way: str, system: tuple[Turn, ...], conversation: str) -> None:
    template, render, _ = WAYS[way]
    turns = system + CONVERSATIONS[conversation]
    text = render(turns)
    assert parse_turns(text, template) == turns
    assert find_template([text]) == template
    for other in {name for name, _, _ in WAYS.values()} - {template}:
        assert isinstance(parse_turns(text, other), Message), other


def problem(text: str, template: str) -> str:
    found = parse_turns(text, template)
    assert isinstance(found, Message), found
    return str(found)


def turns_of(text: str, template: str) -> list[tuple[str, str]]:
    found = parse_turns(text, template)
    assert not isinstance(found, Message), str(found)
    return [(turn.role, turn.content) for turn in found]


@pytest.mark.parametrize(
    "text",
    [
        "### Instruction:\nTranslate.\n\n### Input:\n간\n\n### Response:\nliver",
        "Below is an instruction that describes a task, paired with an input that provides further context. "
        "Write a response "
        "that appropriately completes the request.\n\n### Instruction:\nTranslate.\n\n### Input:\n간\n\n### Response: liver</s>",
        "아래는 작업을 설명하는 명령어와 추가적 맥락을 제공하는 입력이 짝을 이루는 예제입니다. "
        "요청을 적절히 완료하는 응답을 작성하세요.\n\n"
        "### 명령어:\nTranslate.\n\n### 입력:\n간\n\n### 응답:\nliver",
        "Below is an instruction that describes a task,\npaired with an input that provides further context.\n\n"
        "### Instruction:\nTranslate.\n\n### Input:\n간\n\n### Response: liver",
        "### 질문: Translate.\n\n### 맥락: 간\n\n### 답변: liver<|endoftext|>",
    ],
)
def test_an_input_stands_below_its_instruction(text: str) -> None:
    assert turns_of(text, "alpaca") == [("user", "Translate.\n\n간"), ("assistant", "liver")]
    assert find_template([text]) == "alpaca"


def test_an_empty_input_is_none() -> None:
    text = "### Instruction:\nSay hi.\n\n### Input:\n\n\n### Response:\nhi"
    assert turns_of(text, "alpaca") == [("user", "Say hi."), ("assistant", "hi")]


def test_a_preamble_that_says_something_is_a_system_turn() -> None:
    text = "A chat between a doctor and a patient.\n\n### Human: hi\n### Assistant: hello"
    assert turns_of(text, "human-assistant")[0] == ("system", "A chat between a doctor and a patient.")


def test_a_script_within_an_answer_stays_whole() -> None:
    script = "Here it is:\nHuman: Beep?\nAssistant: Boop."
    text = f"Human: Write a script.\n\nAssistant: {script}\n\nHuman: Thanks.\n\nAssistant: Any time."
    assert turns_of(text, "human-assistant")[1] == ("assistant", script)


def test_tools_of_llama_3_and_chatml_answer_in_their_own_role() -> None:
    text = LLAMA_3((Turn("user", "Weather?"), Turn("ipython", "sunny"), Turn("assistant", "Sunny.")))
    assert turns_of(text.replace("?<|eot_id|>", "?<|eom_id|>"), "llama-3")[1] == ("tool", "sunny")
    assert turns_of(CHATML((Turn("tool", "sunny"), Turn("assistant", "Sunny."))), "chatml")[0] == ("tool", "sunny")


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("thought", "reasoning"), [("\nTwo and\n\ntwo: [4].\n", "Two and\n\ntwo: [4]."), ("\n\n", "")])
def test_what_was_thought_before_an_answer_is_its_reasoning(way: str, thought: str, reasoning: str) -> None:
    template, render, _ = WAYS[way]
    found = parse_turns(render((Turn("user", "2+2?"), Turn("assistant", f"<think>{thought}</think>\n\n4 </think>"))), template)
    assert found == (Turn("user", "2+2?"), Turn("assistant", "4 </think>", reasoning=reasoning))


def test_thoughts_elsewhere_are_words_like_others() -> None:
    turns = (Turn("user", "<think>a</think> b"), Turn("assistant", "c <think>d</think>"))
    assert parse_turns(CHATML(turns), "chatml") == turns


@pytest.mark.parametrize("thought", ["<think>I wonder", "<think>I wonder</think>\n"])
def test_a_thought_without_an_answer_is_refused(thought: str) -> None:
    text = CHATML((Turn("user", "a"), Turn("assistant", thought)))
    assert problem(text, "chatml") == "the text has no answer after <|im_start|>assistant"


@pytest.mark.parametrize("way", WAYS)
def test_a_question_after_the_last_answer_is_dropped(way: str) -> None:
    template, render, _ = WAYS[way]
    text = render((*KOREAN, Turn("user", "그리고?"))).removesuffix(" [/INST]")  # behind this mark an answer is missing
    assert parse_turns(text, template) == KOREAN


@pytest.mark.parametrize("way", WAYS)
def test_a_text_without_an_answer_is_refused(way: str) -> None:
    template, render, _ = WAYS[way]
    assert "no answer after" in problem(render(KOREAN[:1]), template)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("place", range(4))
def test_an_empty_turn_is_refused(way: str, place: int) -> None:
    template, render, _ = WAYS[way]
    turns = [Turn("user", "a"), Turn("assistant", "b"), Turn("user", "c"), Turn("assistant", "d")]
    turns[place] = Turn(turns[place].role, " ")
    assert ("the text has no answer after" if place % 2 else "the text has nothing after") in problem(render(turns), template)


@pytest.mark.parametrize(
    ("template", "text", "said"),
    [
        ("llama-2", "Note: [INST] a [/INST] b", "the text does not begin with [INST]"),
        ("llama-2", "[INST] a [/INST] b</s> c [INST] d [/INST] e", "there is text outside the turns: c"),
        ("llama-2", "[INST] a </s> b [/INST] c", "there is text outside the turns: b"),
        ("llama-2", "[INST] a [INST] b [/INST] c", "[INST] is in the wrong place"),
        ("llama-2", "[INST] a [/INST] b [/INST] c", "[/INST] is in the wrong place"),
        ("llama-2", "[INST] a [/INST] b [INST] c [/INST]", "the text has no answer after [/INST]"),
        ("llama-2", "[/INST] a", "[/INST] is in the wrong place"),
        ("llama-2", "[INST] <<SYS>>\na\n\nb [/INST] c", "the turn after <<SYS>> is not closed"),
        ("llama-2", "[INST] a <<SYS>>b<</SYS>> [/INST] c", "<<SYS>> is in the wrong place"),
        ("llama-2", "[INST] a [/INST] b [INST] <<SYS>>c<</SYS>> d [/INST] e", "<<SYS>> is in the wrong place"),
        ("llama-2", "[INST] <<SYS>>\na\n<</SYS>>\n\n [/INST] b", "the text has nothing after [INST]"),
        ("chatml", "Note: <|im_start|>user\na<|im_end|>", "the text does not begin with <|im_start|>user"),
        ("chatml", "<|im_start|>robot\na<|im_end|>", "a turn has an unknown role: 'robot'"),
        (
            "chatml",
            "<|im_start|>user\na<|im_end|>b<|im_start|>assistant\nc<|im_end|>",
            "there is text outside the turns: b<|im_st",
        ),
        ("chatml", "<|im_start|>user\na\n<|im_start|>assistant\nc<|im_end|>", "the turn after <|im_start|>user is not closed"),
        (
            "chatml",
            "<|im_start|>user\na<|im_end|>\n<|im_start|>assistant\n",
            "the text has no answer after <|im_start|>assistant",
        ),
        ("chatml", "<|im_start|>user\na<|im_end|>\n<|im_start|>assistant\nb<|endoftext|>c", "there is text outside the turns: c"),
        ("chatml", "<|im_start|>assistant\na<|im_end|>b", "there is text outside the turns: b"),
        (
            "chatml",
            "<|im_start|>user\r\na\r\n<|im_start|>assistant\r\nc<|im_end|>",
            "the turn after <|im_start|>user is not closed",
        ),
        ("llama-3", "<|start_header_id|>model<|end_header_id|>\n\na<|eot_id|>", "a turn has an unknown role: 'model'"),
        ("gemma", "<start_of_turn>bot\na<end_of_turn>", "a turn has an unknown role: 'bot'"),
        ("phi-3", "<|user|>\na<|assistant|>\nb<|end|>", "the turn after <|user|> is not closed"),
        ("phi-3", "<|human|>\na<|end|>", "a turn has an unknown role: 'human'"),
        ("zephyr", "<|user|>\na</s>\nb\n<|assistant|>\nc</s>", "there is text outside the turns: b <|assistant|>"),
        ("alpaca", "You are kind.\n\n### Instruction:\na\n\n### Response:\nb", "the text does not begin with ### Instruction:"),
        (
            "alpaca",
            f"{ALPACA}Be kind.\n\n### Instruction:\na\n\n### Response:\nb",
            "the text does not begin with ### Instruction:",
        ),
        ("alpaca", "Below is an instruction that describes a task.", "the text does not begin with ### Instruction:"),
        ("alpaca", "### Response:\na", "### Response: is in the wrong place"),
        ("alpaca", "### Instruction:\na\n\n### Response:\nb\n\n### Input:\nc", "### Input: is in the wrong place"),
        ("alpaca", "### Instruction:\na\n\n#### Response:\nb", "the text has no answer after ### Instruction:"),
        ("vicuna", "You are kind. USER: a ASSISTANT: b", "the text does not begin with USER:"),
        ("vicuna", "A chat between us.\n\nIt is long. USER: a ASSISTANT: b", "the text does not begin with USER:"),
        ("vicuna", "ASSISTANT: b USER: a", "ASSISTANT: is in the wrong place"),
        ("vicuna", "USER: a ASSISTANT: b</s> c USER: d ASSISTANT: e", "there is text outside the turns: c"),
        ("vicuna", "USER: a SUPERUSER: b", "the text has no answer after USER:"),
        ("human-assistant", "Note: ### Human: a### Assistant: b", "the text does not begin with ### Human:"),
        ("human-assistant", "A chat between us.\n### System: a\n### Human: b", "### System: is in the wrong place"),
        ("human-assistant", "### Human: a### System: b### Assistant: c", "### System: is in the wrong place"),
        ("human-assistant", "### Human: a\n#### Assistant: b", "the text has no answer after ### Human:"),
        ("human-assistant", "Human: a\n\nHuman: b\n\nAssistant: c", "Human: is in the wrong place"),
    ],
)
def test_what_is_no_whole_conversation_is_refused(template: str, text: str, said: str) -> None:
    assert problem(text, template).startswith(said)
    assert find_template([text]) is None


PROSE = [
    "",
    "plain",
    "[INST] marks where a question begins in Llama 2.",
    "Llama 2 writes `[INST] question [/INST] answer`.",
    "The tags [INST] and [/INST] enclose a question, <s> and </s> all of it.",
    "<|im_start|> opens a turn of ChatML, <|im_end|> closes it.",
    "<|im_start|>user opens a turn.",
    "In ChatML:\n\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\nHello<|im_end|>\n\nThat is all.",
    "<|start_header_id|>user<|end_header_id|> is a header of Llama 3.",
    "<start_of_turn>user is how Gemma begins.",
    "<|user|> comes before <|assistant|> in Phi-3.",
    "### Instruction: how to write instructions\n\nBegin with a verb.",
    "# 시험\n\n### 질문: 첫 번째\n\n### 답변: 보기",
    "Press USER: then ASSISTANT: on the panel.",
    "USER: the person who uses it.",
    "Human: an animal that blushes, or needs to.",
    "An Assistant: wanted. A Human: preferred.",
    "A chat between friends is a good thing.",
    "Below is an instruction that describes a task. It is long.",
]


@pytest.mark.parametrize("text", PROSE)
def test_prose_that_mentions_a_marker_is_no_template(text: str) -> None:
    assert find_template([text]) is None


@pytest.mark.parametrize("texts", [[], [""], [" \n", ""]])
def test_nothing_has_no_template(texts: list[str]) -> None:
    assert find_template(texts) is None


def test_nine_of_ten_texts_must_parse_and_empty_ones_do_not_count() -> None:
    good, bad = CHATML(KOREAN), "plain"
    assert find_template([good] * 9 + [bad] + [" ", ""] * 9) == "chatml"
    assert find_template([bad] + [good] * 9) == "chatml"
    assert find_template([good] * 8 + [bad]) is None
    assert find_template([good] * 17 + [bad] * 2) is None
    assert find_template([good, LLAMA_3(KOREAN)]) is None


MARKERS = (
    "<s>|</s>|[INST]|[/INST]|<<SYS>>|<</SYS>>|<|im_start|>user\n|<|im_start|>assistant\n|<|im_start|>|<|im_end|>|<|begin_of_text|>|"
    "<|start_header_id|>|user<|end_header_id|>|<|eot_id|>|<bos>|<start_of_turn>model\n|<start_of_turn>user\n|<end_of_turn>|<|user|>|"
    "<|assistant|>|<|end|>|<|endoftext|>|### Instruction:|\n### Input:|\n### Response:|\n\n### 질문: |\n### 답변:|USER: |"
    "ASSISTANT: |A chat between |Below is an instruction that describes a task|### Human: |"
    "### Assistant: |\n\nHuman: |\nAssistant: |<think>|</think>"
    "| |\n|\r\n|\t|a|가|:|#|{|}|{0}|\\|\x00|\ud800|\ufeff|\u2028|\x85|<|>|[|]"
)
NAMES = sorted({template for template, _, _ in WAYS.values()})


def test_no_text_raises() -> None:
    pieces = [piece.replace("\0", "|") for piece in MARKERS.replace("<|", "<\0").replace("|>", "\0>").split("|")]
    chance = random.Random(0)
    for _ in range(3000):
        text = "".join(chance.choices(pieces, k=chance.randrange(12)))
        assert find_template([text, text]) in (None, *NAMES)
        for name in NAMES:
            found = parse_turns(text, name)
            if isinstance(found, Message):
                str(found)
            else:
                assert found[-1].role == "assistant"
                assert all(turn.content == turn.content.strip() != "" for turn in found)


ADVERSARIAL = {
    "spaces": " ",
    "lines": "\n",
    "CRLF": "\r\n",
    "begin tokens": "<s>",
    "tokens and spaces": "<s> </s>\n",
    "INST": "[INST]",
    "INST a": "[INST] a [/INST] ",
    "pairs": "[INST] a [/INST] b</s>",
    "SYS": "<<SYS>> ",
    "chatml": "<|im_start|>user\na<|im_end|>\n",
    "chatml open": "<|im_start|>user\n",
    "chatml no name": "<|im_start|>",
    "header": "<|start_header_id|>user<|end_header_id|>a<|eot_id|>",
    "header open": "<|start_header_id|>",
    "gemma": "<start_of_turn>user\na<end_of_turn>",
    "phi-3": "<|user|>a<|end|>",
    "zephyr": "<|user|>a</s>",
    "bars": "<|",
    "alpaca": "### Instruction:\na\n\n### Response:\nb\n\n",
    "hashes": "#",
    "hash words": "### ",
    "preamble": "Below is an instruction that describes a task ",
    "preamble lines": "아래는 작업을 설명하는\n",
    "chat": "A chat between a curious user and an artificial intelligence assistant. ",
    "USER": "USER: ",
    "vicuna": "USER: a ASSISTANT: b</s>",
    "guanaco": "### Human: a### Assistant: b",
    "human": "Human: a\n\nAssistant: b\n\n",
    "human lines": "Human:\n",
    "think": "<think>",
    "think pairs": "<think></think>",
}


@pytest.mark.parametrize("piece", ADVERSARIAL)
def test_long_texts_of_anything_are_read_in_one_pass(piece: str) -> None:
    body = ADVERSARIAL[piece] * (2**18 // len(ADVERSARIAL[piece]))
    for start in ("", "<|im_start|>assistant\n", "[INST] <<SYS>>", "[INST] a [/INST]", "A chat between", "### Human: a"):
        for name in NAMES:
            begun = time.process_time()
            parse_turns(start + body + "!", name)
            assert time.process_time() - begun < 5, (start, name)  # 0.05 s; what goes back again and again takes many minutes
