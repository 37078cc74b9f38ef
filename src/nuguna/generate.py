"""The only path by which answers are made: `ask`, `chat`, the report and later the server all come through here."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from transformers import StoppingCriteria, StoppingCriteriaList
from transformers.generation.streamers import BaseStreamer

from .data.conversation import Turn
from .data.encode import encode_prompt
from .message import say
from .shortage import attempt, no_memory


@dataclass(frozen=True)
class Answer:
    """One generated answer. `stopped`: it ended by itself, not by the limit or the user."""

    text: str
    stopped: bool
    num_tokens: int
    seconds: float


class _Streamer(BaseStreamer):  # type: ignore[misc]
    """Hands decoded text on as soon as it is whole: half of a Hangul syllable's bytes is not shown."""

    def __init__(self, tokenizer: Any, on_text: Callable[[str], None]) -> None:
        self._tokenizer, self._on_text = tokenizer, on_text
        self._ids: list[int] = []
        self._shown = ""
        self._prompt = True

    def put(self, value: torch.Tensor) -> None:
        if self._prompt:  # the first call brings the prompt
            self._prompt = False
            return
        self._ids.extend(value.flatten().tolist())
        text = self._tokenizer.decode(self._ids, skip_special_tokens=True)
        if not text.endswith("\ufffd") and text.startswith(self._shown):
            self._on_text(text[len(self._shown) :])
            self._shown = text

    def end(self) -> None:
        text = self._tokenizer.decode(self._ids, skip_special_tokens=True)
        if text.startswith(self._shown):
            self._on_text(text[len(self._shown) :])


class _StopWhen(StoppingCriteria):  # type: ignore[misc]
    def __init__(self, stop: Callable[[], bool]) -> None:
        self._stop = stop

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor, **kwargs: Any) -> torch.Tensor:
        return torch.full((input_ids.shape[0],), self._stop(), dtype=torch.bool, device=input_ids.device)


@torch.inference_mode()
def answer(
    model: Any,
    tokenizer: Any,
    conversations: Sequence[Sequence[Turn]],
    *,
    end_ids: frozenset[int],
    max_new_tokens: int,
    tools: Sequence[str] = (),
    batch_size: int = 16,
    on_text: Callable[[str], None] | None = None,
    stop: Callable[[], bool] | None = None,
    on_less: Callable[[int], None] = lambda size: None,
) -> list[Answer]:
    """Answer each conversation, greedily, so that the same question gets the same answer.

    `tools` are the functions that each may call, as JSON. `on_text` (one conversation only) receives the text as it grows;
    `stop` is asked after each token. Where memory runs out, fewer are answered at once, and `on_less` is told how many. Raises
    `OutOfMemoryError` when not even one can be.
    """
    allowed = tools or [""] * len(conversations)
    context = getattr(model.config, "max_position_embeddings", None)
    # an answer has at most half of the window; a longer conversation loses its earliest rounds
    room = None if context is None else context - min(max_new_tokens, context // 2)
    prompts = [encode_prompt(tokenizer, turns, given, room) for turns, given in zip(conversations, allowed, strict=True)]
    order = sorted(range(len(prompts)), key=lambda i: len(prompts[i]))
    answers: dict[int, Answer] = {}
    was_training = model.training
    model.eval()
    try:
        while len(answers) < len(order):
            chosen = order[len(answers) : len(answers) + batch_size]
            streamer = _Streamer(tokenizer, on_text) if on_text and len(prompts) == 1 else None
            asked = [prompts[i] for i in chosen]
            made = attempt(partial(_answer_batch, model, tokenizer, asked, end_ids, max_new_tokens, streamer, stop))
            if made is not None:
                answers.update(zip(chosen, made, strict=True))
            elif len(chosen) == 1:
                raise no_memory(say("There is not enough memory to answer this question."))
            else:
                batch_size = len(chosen) // 2
                on_less(batch_size)
    finally:
        model.train(was_training)
    return [answers[i] for i in range(len(prompts))]


def _answer_batch(
    model: Any,
    tokenizer: Any,
    prompts: list[list[int]],
    end_ids: frozenset[int],
    max_new_tokens: int,
    streamer: _Streamer | None,
    stop: Callable[[], bool] | None,
) -> list[Answer]:
    width = max(len(p) for p in prompts)
    context = getattr(model.config, "max_position_embeddings", None) or width + max_new_tokens
    device = next(model.parameters()).device
    pad = tokenizer.pad_token_id
    ids = torch.tensor([[pad] * (width - len(p)) + p for p in prompts], device=device)  # (answers, width), padded on the left
    mask = torch.tensor([[0] * (width - len(p)) + [1] * len(p) for p in prompts], device=device)
    began = time.perf_counter()
    output = model.generate(
        input_ids=ids,
        attention_mask=mask,
        max_new_tokens=min(max_new_tokens, context - width),
        do_sample=False,
        temperature=None,
        top_p=None,
        top_k=None,
        eos_token_id=sorted(end_ids),
        pad_token_id=pad,
        streamer=streamer,
        stopping_criteria=StoppingCriteriaList([_StopWhen(stop)]) if stop else None,
    )
    seconds = time.perf_counter() - began
    return [_finish(tokenizer, row[width:].tolist(), end_ids, seconds) for row in output]


def _finish(tokenizer: Any, ids: list[int], end_ids: frozenset[int], seconds: float) -> Answer:
    end = next((i for i, token in enumerate(ids) if token in end_ids), None)
    kept = ids if end is None else ids[:end]
    text = tokenizer.decode(kept, skip_special_tokens=True).strip()
    return Answer(text=text, stopped=end is not None, num_tokens=len(kept) + (end is not None), seconds=seconds)
