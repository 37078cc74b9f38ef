"""Calls of functions and thoughts: a template that leaves them out is refused, and a call is measured by its
own words.
"""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from nuguna.base_models.checked import check_tokenizer
from nuguna.data.conversations.conversation import Conversation, Turn
from nuguna.data.dataset import read_all
from nuguna.errors import DataError
from nuguna.jobs.inspect import diagnose
from nuguna.measure.evaluate import answer_scores, reference
from nuguna.measure.words_of import find_tokenization
from nuguna.model.generate import Answer, as_read
from nuguna.tokens.choose import Encoding
from nuguna.tokens.encode import encode
from nuguna.tokens.laid_out import end_token_ids
from nuguna.tokens.tokenizer import load_tokenizer
from tests.conftest import DEMO_MODEL

# {calls} stands where a template writes what an assistant calls, or does not
CHATML = (
    "{% if tools %}{{ '<|im_start|>tools\n' + tools | tojson + '<|im_end|>\n' }}{% endif %}"
    "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' }}"
    "{% if m.role == 'tool' %}{{ m.content | tojson }}{% else %}{% if THOUGHT %}"
    "{{ '<think>' + m.reasoning_content + '</think>' }}{% endif %}{{ m.content }}{% endif %}"
    "{% if m.tool_calls %}CALLS{% endif %}{{ '<|im_end|>\n' }}BEHIND{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
EACH = "{% for c in m.tool_calls %}EACH{% endfor %}"
ARGUMENTS = "{% for key, value in c.function.arguments | items %}{{ key }}={{ value }},{% endfor %}"
WRITTEN = {
    "json": EACH.replace("EACH", "{{ c.function | tojson }}"),
    "escaped json": EACH.replace("EACH", "{{ c.function | tojson(ensure_ascii=True) }}"),
    "all at once": "{{ m.tool_calls | tojson(indent=2) }}",
    "python": EACH.replace("EACH", "{{ c.function.name }}(" + ARGUMENTS + ")"),
    "xml": EACH.replace(
        "EACH",
        "<{{ c.function.name }}>{% for k, v in c.function.arguments | dictsort %}<{{ k }}>{{ v | tojson }}</{{ k }}>{% endfor %}",
    ),
}
LOST = {
    "all": ("", "dose, kg"),
    "the arguments": (EACH.replace("EACH", "{{ c.function.name }}"), "kg"),
    "the names of the arguments": (EACH.replace("EACH", "{{ c.function.name }}{{ c.function.arguments.values() | list }}"), "kg"),
    "the name": (EACH.replace("EACH", "{{ c.function.arguments | tojson }}"), "dose"),
    "capitals": (EACH.replace("EACH", "{{ (c.function | tojson) | lower }}"), "dose, kg"),
}


@pytest.fixture
def tokenizer() -> Any:
    return load_tokenizer(check_tokenizer(DEMO_MODEL))


def template(calls: str, *, thought: str = "m.reasoning_content", behind: str = "") -> str:
    return CHATML.replace("THOUGHT", thought).replace("CALLS", calls).replace("BEHIND", behind)


def called(*calls: tuple[str, Any], content: str = "", reasoning: str = "") -> Turn:
    made = [{"id": "a1", "type": "function", "function": {"name": name, "arguments": given}} for name, given in calls]
    return Turn("assistant", content, reasoning, json.dumps(made, ensure_ascii=False))


ASK, RESULT, REPLY = (Turn("user", "How much?"), Turn("tool", '{"ml": "다섯"}\n', name="dose"), Turn("assistant", "5 ml."))
DOSE = called(("dose", {"kg": 20}))
TOOLS = json.dumps([{"type": "function", "function": {"name": "dose", "parameters": {"kg": {"type": "number"}}}}])


def learned(tokenizer: Any, *turns: Turn) -> str:
    encoded = encode(tokenizer, Conversation(turns, "f", 1, tools=TOOLS), 2048, end_token_ids(tokenizer, None))
    return str(tokenizer.decode([i for i, t in zip(encoded.ids, encoded.loss_mask, strict=True) if t]))


def refused(tokenizer: Any, *turns: Turn) -> DataError:
    with pytest.raises(DataError) as caught:
        learned(tokenizer, *turns)
    return caught.value


@pytest.mark.parametrize("form", WRITTEN)
@pytest.mark.parametrize(
    "given",
    [
        {},
        {"kg": 20, "가": "나루 \"정\"\n'둘'째 <줄>", "a b": -0.5},
        {"kg": 0, "now": False, "then": True, "note": "", "none": None, "list": [], "map": {}, "f": 0.0},
        {"deep": {"list": [1, [2, {"is": False}], "셋"], "name": "x", "id": 7}},
        {"zeros": [[0, 0, 0]] * 9, "flags": [True, False]},
    ],
    ids=["none", "texts", "nothings", "deep", "lists"],
)
def test_a_call_that_is_written_is_learned_whatever_its_form(form: str, given: dict[str, Any], tokenizer: Any) -> None:
    tokenizer.chat_template = template(WRITTEN[form])
    assert "clock" in learned(tokenizer, ASK, called(("dose", given), ("clock", {})))
    assert "dose" in learned(tokenizer, ASK, called(("dose", given), content="Let me look."), RESULT, REPLY)
    assert learned(tokenizer, ASK, REPLY) == "5 ml.<|im_end|>"


@pytest.mark.parametrize("lost", LOST)
def test_a_template_that_loses_a_call_or_a_part_of_it_is_refused(lost: str, tokenizer: Any) -> None:
    calls, names = LOST[lost]
    tokenizer.chat_template = template(calls)
    for turns in (
        (ASK, DOSE),
        (ASK, called(("dose", {"kg": 20}), content="The dose for 20 kg.")),
        (ASK, DOSE, RESULT, REPLY),
        (ASK, DOSE, RESULT, REPLY, ASK, REPLY),
    ):
        error = refused(tokenizer, *turns)
        assert (
            "leaves out function calls" in str(error.what)
            and str(error.seen).endswith(f": {names}")
            and "MODEL=" in str(error.fix)
        )
    assert learned(tokenizer, ASK, REPLY) == "5 ml.<|im_end|>"


@pytest.mark.parametrize(
    ("calls", "given"),
    [
        ("{{ m.tool_calls[0].function | tojson }}", [("dose", {"kg": 20}), ("clock", {})]),
        ("{{ m.tool_calls[-1].function | tojson }}", [("clock", {}), ("dose", {"kg": 20})]),
        (WRITTEN["python"].replace("| items %}", "| items if value %}"), [("dose", {"clock": 0})]),
        (WRITTEN["python"].replace("| items %}", "| items if value %}"), [("dose", {"kg": 20, "a": [{"b": 1}], "clock": False})]),
        (
            WRITTEN["python"].replace("{{ value }}", "{{ value[:1] if value is sequence else value }}"),
            [("dose", {"clock": [1, 0]})],
        ),
        (
            WRITTEN["python"].replace("| items %}", "| items if value is not mapping %}"),
            [("dose", {"kg": 1, "clock": {"x": True}})],
        ),
    ],
)
def test_every_call_and_every_value_must_be_written(calls: str, given: list[tuple[str, Any]], tokenizer: Any) -> None:
    tokenizer.chat_template = template(calls)
    assert "clock" in str(refused(tokenizer, ASK, called(*given)).seen)
    assert learned(tokenizer, ASK, DOSE)


@pytest.mark.parametrize("loop", ["loop.last", "loop.index <= 2", "not m.content"])
def test_calls_that_are_written_in_some_turns_alone_are_refused_in_the_others(loop: str, tokenizer: Any) -> None:
    tokenizer.chat_template = template(f"{{% if {loop} %}}{WRITTEN['json']}{{% endif %}}")
    words = called(("dose", {"kg": 3}), content="Let me look.")
    assert "leaves out function calls" in str(refused(tokenizer, ASK, DOSE, RESULT, REPLY, ASK, words))


def test_a_call_behind_the_end_of_the_answer_is_not_learned_and_so_refused(tokenizer: Any) -> None:
    tokenizer.chat_template = template("", behind="{% if m.tool_calls %}" + WRITTEN["json"] + "{% endif %}")
    assert "leaves out function calls" in str(refused(tokenizer, ASK, DOSE))


@pytest.mark.parametrize("calls", ['[{"type": "function", "function": {}}]', "[{}]", "[null]", '["dose(20)"]'])
def test_a_call_that_says_nothing_is_never_learned_as_an_empty_answer(calls: str, tokenizer: Any) -> None:
    tokenizer.chat_template = template("")
    assert "leaves out function calls" in str(refused(tokenizer, ASK, Turn("assistant", "", tool_calls=calls)))


def test_a_call_without_the_usual_frame_is_looked_at_too(tokenizer: Any) -> None:
    call = Turn("assistant", "", tool_calls='[{"type": "function", "name": "dose", "arguments": {"kg": 20}}]')
    tokenizer.chat_template = template("{{ m.tool_calls | tojson }}")
    assert '"kg": 20' in learned(tokenizer, ASK, call)
    tokenizer.chat_template = template("{% for c in m.tool_calls %}{{ c.name }}{% endfor %}")
    assert str(refused(tokenizer, ASK, call).seen).endswith(": kg")


@pytest.mark.parametrize(
    "thought",
    ["m.reasoning_content and not m.tool_calls", "m.reasoning_content and loop.index < 3", "m.reasoning_content and loop.last"],
)
def test_a_thought_of_the_last_answer_that_is_left_out_is_refused(thought: str, tokenizer: Any) -> None:
    tokenizer.chat_template = template(WRITTEN["json"], thought=thought)
    call, reply = (called(("dose", {"kg": 20}), reasoning="I look it up."), Turn("assistant", "5 ml.", "It says five."))
    cases = {"last": (ASK, reply), "call": (ASK, call), "both": (ASK, call, RESULT, reply)}
    is_lost = {name: "reasoning" in thought for name in cases}
    for name, turns in cases.items():
        try:
            assert turns[-1].reasoning in learned(tokenizer, *turns)
            is_lost[name] = False
        except DataError as error:
            assert "thinks before it answers" in str(error) and "MODEL=" in str(error.fix)
    assert is_lost == {"last": False, "call": "tool_calls" in thought, "both": "index" in thought}


def test_an_answer_that_stands_elsewhere_in_the_text_is_still_missed(tokenizer: Any) -> None:
    tokenizer.chat_template = template("").replace("{{ m.content }}", "{% if loop.index < 4 %}{{ m.content }}{% endif %}")
    assert learned(tokenizer, ASK, REPLY) == "5 ml.<|im_end|>"
    assert "leaves out what the assistant says" in str(refused(tokenizer, ASK, REPLY, ASK, REPLY))


def test_nuguna_data_says_why_rows_do_not_fit_the_template(tokenizer: Any, tmp_path: Path) -> None:
    call = {"role": "assistant", "content": "", "tool_calls": [{"function": {"name": "dose", "arguments": {"kg": 20}}}]}
    rows = [{"messages": [{"role": "user", "content": f"How much for {i}?"}, call]} for i in range(4)]
    (tmp_path / "calls.jsonl").write_text("\n".join(map(json.dumps, rows)))
    tokenizer.chat_template = template("")
    found = diagnose(read_all(str(tmp_path / "calls.jsonl")), tokenizer, 512, end_token_ids(tokenizer, None)).to_json()
    assert (found["verdict"], found["num_refused"], found["num_trained_tokens"]) == ("refused", 4, 0)
    assert found["refusal"]["seen"] == "It leaves out: dose, kg"


def scores_of(tokenizer: Any, conversation: Conversation, said: str) -> dict[str, float]:
    loaded: Any = SimpleNamespace(tokenizer=tokenizer, eos_ids=end_token_ids(tokenizer, None))
    right = [reference(loaded, conversation)]
    scores = answer_scores([conversation], [Answer(said, True, 1, 0.0)], right, find_tokenization(right))
    return {name: scores[name].value for name in ("rouge_l", "bleu", "chrf", "exact_match", "word_f1")}


@pytest.mark.parametrize("form", WRITTEN)
def test_a_perfect_call_scores_100_and_an_empty_answer_nothing(form: str, tokenizer: Any) -> None:
    tokenizer.chat_template = template(WRITTEN[form])
    call = called(("dose", {"kg": 20, "이름": "나루 하나 둘 셋"}))
    for turns in ((ASK, call), (ASK, REPLY, ASK, call), (ASK, call, RESULT, call)):
        conversation = Conversation(turns, "f", 1, tools=TOOLS)
        ends = end_token_ids(tokenizer, None)
        encoded = encode(tokenizer, conversation, 2048, ends)
        loss_mask = encoded.loss_mask.tolist()
        first = len(loss_mask) - loss_mask[::-1].index(True)
        begin = first - loss_mask[:first][::-1].index(False)
        perfect = as_read(tokenizer, list(encoded.ids[begin:]), ends)
        assert "dose" in perfect and "<|im_end|>" not in perfect
        assert list(scores_of(tokenizer, conversation, perfect).values()) == pytest.approx([100] * 5)
        assert set(scores_of(tokenizer, conversation, "").values()) == {0.0}


def test_an_answer_in_words_is_measured_by_its_words(tokenizer: Any) -> None:
    tokenizer.chat_template = template(WRITTEN["json"])
    conversation = Conversation((ASK, DOSE, RESULT, REPLY), "f", 1, tools=TOOLS)
    assert scores_of(tokenizer, conversation, "5 ml.")["exact_match"] == 100


def test_a_template_that_forgets_earlier_thoughts_still_opens_the_last_answer_as_its_prompt_does(tokenizer: Any) -> None:
    """As gpt-oss: what was thought before a call stands in the prompt, and no longer in the finished
    conversation.
    """
    answered = "(messages[-1].role == 'assistant' and not messages[-1].tool_calls)"
    thought = f"m.reasoning_content and (loop.last or not {answered})"
    tokenizer.chat_template = template(WRITTEN["json"], thought=thought).replace("{{ m.content }}", "<final>{{ m.content }}")
    call, reply = (called(("dose", {"kg": 20}), reasoning="I look it up."), Turn("assistant", "5 ml.", "It says five."))
    said = learned(tokenizer, ASK, call, RESULT, reply)
    assert said.startswith("<think>I look it up.</think><final>{") and said.count("<|im_end|>") == 2
    assert said.endswith("}<|im_end|><think>It says five.</think><final>5 ml.<|im_end|>")


def test_a_row_of_which_a_part_is_refused_is_left_out_and_counted(tokenizer: Any) -> None:
    tokenizer.chat_template = template(WRITTEN["json"], thought="m.reasoning_content and not m.tool_calls")
    call, reply = (called(("dose", {"kg": 20}), reasoning="I look it up."), Turn("assistant", "5 ml.", "It says five."))
    rows = [Conversation(turns, "f", 1, tools=TOOLS) for turns in ((ASK, reply), (ASK, call, RESULT, reply), (ASK, REPLY))]
    encoding = Encoding(tokenizer, 512, end_token_ids(tokenizer, None))
    assert [conversation for conversation, _ in encoding.usable(rows)] == [rows[0], rows[2]]
    assert (encoding.counts.num_rows, encoding.counts.num_refused) == (3, 1)
    assert "thinks before" in str(encoding.first_refusal)
