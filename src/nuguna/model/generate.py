"""The only path by which answers are made: `ask`, `chat`, the report and later the server all come through
here.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from transformers import StoppingCriteria, StoppingCriteriaList
from transformers.generation.streamers import BaseStreamer

from ..data.conversations.conversation import Turn
from ..engine.attention import causal
from ..engine.causal_lm import CausalLM
from ..engine.forward import ROUNDING
from ..engine.memory_watch import attempt, no_memory, watched
from ..engine.sizes import ANSWERS_AT_ONCE, MAX_ANSWERING_TOKENS, MAX_CACHE_BYTES
from ..message import say
from ..tokens.encode import encode_prompt
from ..tokens.tokenizer_protocol import Tokenizer

ROUND_TOKENS = 8  # after so many, answers that have ended are computed no further
# A model's own settings for generation under which an answer depends neither on padding nor on how often
# generation is taken up again. Any other may (`min_length` counts the padding), so that with it only
# questions of one length go together.
_PLAIN_SETTINGS = frozenset(
    "bos_token_id eos_token_id pad_token_id do_sample temperature top_k top_p min_p typical_p "
    "max_length max_new_tokens repetition_penalty use_cache transformers_version _from_model_config".split()
)


@dataclass(frozen=True)
class Answer:
    """One generated answer. `stopped`: it ended by itself, not by the limit or the user.

    `seconds`: from when its question, and those that went through the model beside it, began to be read until
    it had ended; seen every few tokens when there were several.
    """

    text: str
    stopped: bool
    num_tokens: int
    seconds: float


class _Streamer(BaseStreamer):  # type: ignore[misc]
    """Hands decoded text on as soon as it is whole: half of a Hangul syllable's bytes is not shown."""

    def __init__(self, tokenizer: Tokenizer, on_text: Callable[[str], None]) -> None:
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
        self.has_stopped = False

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor, **kwargs: object) -> torch.Tensor:
        self.has_stopped = self._stop()
        return torch.full((input_ids.shape[0],), self.has_stopped, dtype=torch.bool, device=input_ids.device)


@torch.inference_mode()
def answer(
    model: CausalLM,
    tokenizer: Tokenizer,
    conversations: Sequence[Sequence[Turn]],
    *,
    eos_ids: frozenset[int],
    max_new_tokens: int,
    tools: Sequence[str] = (),
    batch_size: int = ANSWERS_AT_ONCE,
    cache_bytes: int = MAX_CACHE_BYTES,
    on_text: Callable[[str], None] | None = None,
    stop: Callable[[], bool] | None = None,
    on_less: Callable[[int], None] = lambda size: None,
) -> list[Answer]:
    """Answer each conversation greedily: a question gets the same answer alone as among others.

    In half precision numbers are rounded otherwise for another number of questions, which may turn a near
    tie. At most `batch_size` go through the model at once, fewer if they are long, so that their keys and
    values take no more than `cache_bytes`. `tools` are the functions that each may call, as JSON. `on_text`
    (one conversation only) receives the text as it grows; `stop` is asked after each token. Where memory runs
    out, fewer are answered at once, and `on_less` is told how many. Raises `OutOfMemoryError` when not even
    one can be.
    """
    allowed = tools or [""] * len(conversations)
    context = getattr(model.config, "max_position_embeddings", None)
    # an answer has at most half of the window; a longer conversation loses its earliest rounds
    room = None if context is None else context - min(max_new_tokens, context // 2)
    prompts = [
        encode_prompt(tokenizer, turns, given, room)
        for turns, given in zip(conversations, allowed, strict=True)
    ]
    order = sorted(range(len(prompts)), key=lambda i: len(prompts[i]))
    answers: dict[int, Answer] = {}
    was_training = model.training
    model.eval()
    try:
        is_mixed = bool(attempt(partial(_may_mix, model, tokenizer, prompts, max_new_tokens)))
        round_tokens = ROUND_TOKENS if is_mixed else max_new_tokens
        most_tokens = min(MAX_ANSWERING_TOKENS, cache_bytes // _cached_bytes(model))
        while len(answers) < len(order):
            chosen = _next(
                order[len(answers) :], prompts, batch_size, max_new_tokens, most_tokens, is_mixed=is_mixed
            )
            streamer = _Streamer(tokenizer, on_text) if on_text and len(prompts) == 1 else None
            asked = [prompts[i] for i in chosen]
            one = partial(
                _answer_batch, model, tokenizer, asked, eos_ids, max_new_tokens, streamer, stop, round_tokens
            )
            with watched(model):
                made = attempt(one)
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


def _next(
    order: Sequence[int],
    prompts: Sequence[list[int]],
    batch_size: int,
    max_new_tokens: int,
    most_tokens: int,
    *,
    is_mixed: bool,
) -> list[int]:
    """Return which of the prompts, by their length, go through the model next: at least one."""
    chosen: list[int] = []
    for i in order[:batch_size]:
        is_other = not is_mixed and len(prompts[i]) != len(prompts[order[0]])
        if chosen and (is_other or (len(chosen) + 1) * (len(prompts[i]) + max_new_tokens) > most_tokens):
            break
        chosen.append(i)
    return chosen


def _cached_bytes(model: CausalLM) -> int:
    """Keys and values that one token leaves in the cache; of a kind that names its sizes otherwise, next to
    nothing.
    """
    config = model.config.get_text_config()
    num_heads = getattr(config, "num_attention_heads", None) or 1
    width = getattr(config, "head_dim", None) or getattr(config, "hidden_size", num_heads) // num_heads
    rows = getattr(config, "num_hidden_layers", 1) * (
        getattr(config, "num_key_value_heads", None) or num_heads
    )
    return int(2 * rows * width * next(p.dtype for p in model.parameters() if p.dtype in ROUNDING).itemsize)


def _may_mix(
    model: CausalLM, tokenizer: Tokenizer, prompts: Sequence[list[int]], max_new_tokens: int
) -> bool:
    """Return whether prompts of different lengths may go together without a change of any answer. Padding is
    tried, not looked up.
    """
    settings = causal(model).generation_config.to_diff_dict()
    if settings.get("cache_implementation") == "hybrid":  # Gemma's; transformers takes its usual cache
        del settings["cache_implementation"]
    if not {name for name, value in settings.items() if value} <= _PLAIN_SETTINGS:
        return False
    lengths = {len(p) for p in prompts}
    if len(lengths) < 2:
        return True
    if max(lengths) + max_new_tokens > _same_rotation_tokens(model.config.get_text_config()):
        return False
    longest = max(prompts, key=len)
    return _stands_padding(model, tokenizer, [longest[-2:], longest[-7:]])


def _same_rotation_tokens(config: Any) -> float:
    """Up to how many tokens no row changes the rotary angles of the others: some kinds choose them by the
    longest.
    """
    given = getattr(config, "rope_parameters", None) or {}
    # Gemma 3 has one for each kind of layer
    kinds = [kind for kind in (given, *given.values()) if isinstance(kind, dict)]
    own = config.to_dict()
    usual = own.get("original_max_position_embeddings") or own.get("max_position_embeddings") or 0
    limits = [
        kind.get("original_max_position_embeddings") or usual
        for kind in kinds
        if kind.get("rope_type") in ("dynamic", "longrope")
    ]
    return min(limits, default=float("inf"))


def _stands_padding(model: CausalLM, tokenizer: Tokenizer, prompts: list[list[int]]) -> bool:
    """Return whether what comes next is the same for each of two short prompts alone as for both together."""

    def logits(some: list[list[int]]) -> torch.Tensor:
        ids, mask = _padded(some, next(model.parameters()).device)
        settings = {**_greedy(tokenizer, frozenset()), "max_new_tokens": 1, "output_logits": True}
        return model.generate(input_ids=ids, attention_mask=mask, **settings).logits[0].float()  # type: ignore[no-any-return]

    dtype = next(p.dtype for p in model.parameters() if p.dtype in ROUNDING)
    expected, found = torch.cat([logits([p]) for p in prompts]), logits(prompts)
    return float((found - expected).abs().max()) <= ROUNDING[dtype] * float(expected.abs().max())


def _padded(prompts: Sequence[list[int]], device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """Token ids and mask, (prompts, longest), padded on the left. A token that a prompt has anyway pads it,
    so that a penalty for what was said before (`repetition_penalty`) finds nothing new.
    """
    width = max(len(p) for p in prompts)
    ids = torch.tensor([p[:1] * (width - len(p)) + p for p in prompts], device=device)
    mask = torch.tensor([[0] * (width - len(p)) + [1] * len(p) for p in prompts], device=device)
    return ids, mask


def _greedy(tokenizer: Tokenizer, eos_ids: frozenset[int]) -> dict[str, Any]:
    """Return what transformers' `generate` is asked for."""
    return {
        "do_sample": False,
        "temperature": None,
        "top_p": None,
        "top_k": None,
        "eos_token_id": sorted(eos_ids) or None,
        "pad_token_id": tokenizer.pad_token_id,
        "return_dict_in_generate": True,
    }


def _answer_batch(
    model: CausalLM,
    tokenizer: Tokenizer,
    prompts: list[list[int]],
    eos_ids: frozenset[int],
    max_new_tokens: int,
    streamer: _Streamer | None,
    stop: Callable[[], bool] | None,
    round_tokens: int,
) -> list[Answer]:
    """Return answers of prompts that go through the model together, each as if it were alone.

    After every `round_tokens` those that have ended leave the batch, and the rest go on with what the cache
    holds of them.
    """
    began = time.perf_counter()
    device = next(model.parameters()).device
    ids, mask = _padded(prompts, device)  # (prompts that go on, tokens so far)
    width = ids.shape[1]
    context = getattr(model.config, "max_position_embeddings", None) or width + max_new_tokens
    room = [min(max_new_tokens, context - len(p)) for p in prompts]
    halt = None if stop is None else _StopWhen(stop)
    ends = torch.tensor(sorted(eos_ids), device=device)
    made: dict[int, Answer] = {}
    going_on, cache = list(range(len(prompts))), None
    while going_on:
        least = min(room[i] for i in going_on) - (ids.shape[1] - width)
        output = model.generate(
            input_ids=ids,
            attention_mask=mask,
            past_key_values=cache,
            max_new_tokens=least if len(going_on) == 1 else min(least, round_tokens),
            streamer=streamer,
            stopping_criteria=StoppingCriteriaList([halt]) if halt else None,
            **_greedy(tokenizer, eos_ids),
        )
        ids, cache = output.sequences, output.past_key_values
        num_tokens, seconds = ids.shape[1] - width, time.perf_counter() - began
        has_end = torch.isin(ids[:, width:], ends).any(1).tolist()
        rows = []
        for row, i in enumerate(going_on):
            if has_end[row] or num_tokens == room[i] or (halt is not None and halt.has_stopped):
                made[i] = _finish(tokenizer, ids[row, width:].tolist(), eos_ids, seconds)
            else:
                rows.append(row)
        if 0 < len(rows) < len(going_on):
            kept = torch.tensor(rows, device=device)
            ids, mask = ids[kept], mask[kept]
            if cache is not None:
                cache.reorder_cache(kept)
        mask = torch.cat([mask, mask.new_ones(len(mask), ids.shape[1] - mask.shape[1])], 1)
        going_on = [going_on[row] for row in rows]
    return [made[i] for i in range(len(prompts))]


def _finish(tokenizer: Tokenizer, ids: list[int], eos_ids: frozenset[int], seconds: float) -> Answer:
    kept, has_end = _up_to_end(ids, eos_ids)
    return Answer(
        as_read(tokenizer, ids, eos_ids), stopped=has_end, num_tokens=len(kept) + has_end, seconds=seconds
    )


def as_read(tokenizer: Tokenizer, ids: list[int], eos_ids: frozenset[int]) -> str:
    """Return the words of an answer's tokens, without what ends it."""
    return str(tokenizer.decode(_up_to_end(ids, eos_ids)[0], skip_special_tokens=True)).strip()


def _up_to_end(ids: list[int], eos_ids: frozenset[int]) -> tuple[list[int], bool]:
    end = next((i for i, token in enumerate(ids) if token in eos_ids), None)
    return ids[:end], end is not None
