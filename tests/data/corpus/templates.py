"""One column of text that a chat template was already laid over."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from .shape import Shape
from .words import BOTH, SYSTEM_EN, turns

_BELOW = "Below is an instruction that describes a task. Write a response that appropriately completes the request."
_CHAT = (
    "A chat between a curious user and an artificial intelligence assistant. "
    "The assistant gives helpful, detailed, and polite answers to the user's questions."
)
# file name → (what the template is called, how it is written)
_TEMPLATES: Mapping[str, tuple[str, str]] = {
    "llama2": ("llama-2", "<s>[INST] {q} [/INST] {a} </s>"),
    "llama3": (
        "llama-3",
        "<|begin_of_text|><|start_header_id|>user<|end_header_id|>\n\n{q}<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\n{a}<|eot_id|>",
    ),
    "chatml": ("chatml", "<|im_start|>user\n{q}<|im_end|>\n<|im_start|>assistant\n{a}<|im_end|>\n"),
    "gemma": ("gemma", "<bos><start_of_turn>user\n{q}<end_of_turn>\n<start_of_turn>model\n{a}<end_of_turn>\n"),
    "phi3": ("phi-3", "<|user|>\n{q}<|end|>\n<|assistant|>\n{a}<|end|>\n"),
    "alpaca_text": ("alpaca", f"{_BELOW}\n\n### Instruction:\n{{q}}\n\n### Response:\n{{a}}"),
    "koalpaca": ("alpaca", "### 질문: {q}\n\n### 답변: {a}"),
    "vicuna": ("vicuna", f"{_CHAT} USER: {{q}} ASSISTANT: {{a}}</s>"),
    "guanaco": ("human-assistant", "### Human: {q}### Assistant: {a}"),
    "human_assistant": ("human-assistant", "Human: {q}\n\nAssistant: {a}"),
}


def shapes() -> Iterator[Shape]:
    for name, (template, text) in _TEMPLATES.items():
        rows = [{"text": text.format(q=q, a=a)} for q, a in BOTH[:4]]
        yield Shape(f"text_{name}", rows, f"text ({template})", turns(*BOTH[0]), formats=("jsonl", "csv"))
    system = f"<|system|>\n{SYSTEM_EN}</s>\n"
    zephyr = [{"text": f"{system}<|user|>\n{q}</s>\n<|assistant|>\n{a}</s>\n"} for q, a in BOTH[:4]]
    said = [("system", SYSTEM_EN), *turns(*BOTH[0])]
    yield Shape("text_zephyr", zephyr, "text (zephyr)", said, formats=("jsonl", "parquet"))
    longer = [
        {"prompt_id": n, "text": f"<s>[INST] {a[0]} [/INST] {a[1]} </s><s>[INST] {b[0]} [/INST] {b[1]} </s>"}
        for n, (a, b) in enumerate(zip(BOTH[:3], BOTH[3:6], strict=True))
    ]
    said = [*turns(*BOTH[0]), *turns(*BOTH[3])]
    yield Shape("text_llama2_longer", longer, "text (llama-2)", said, formats=("jsonl", "csv", "xlsx"))
