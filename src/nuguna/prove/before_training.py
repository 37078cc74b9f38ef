"""Before the first step: data, prompts, order, adapter and learning rate, looked at."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch

from ..data.conversations.conversation import TEXT, Conversation, Turn, as_message
from ..engine.adapter import adapter_parameters, linears_without_adapter
from ..engine.causal_lm import CausalLM
from ..message import Message, say
from ..model.adapter import lora_layers
from ..model.load import Loaded
from ..tokens.batch import epoch_order, step_indices
from ..tokens.encode import Encoded, encode_prompt
from ..tokens.lengths import spread
from ..tokens.parts import Parts
from ..tokens.template import fitting_turns
from ..tokens.tokenizer_protocol import Tokenizer
from ..train.loop import Recipe, learning_rate_at
from .check import Check
from .checks import NUM_QUESTIONS, RELOAD_TOLERANCE, asks_as_trained, probe_logits, whole_pairs
from .trial_step import FAULT

MAX_ROWS = 2000  # examples that are looked at, evenly over all of them
MIN_SHARE = 0.999  # of the examples must end with an end token
MAX_ORDERED = 200_000  # examples up to which the order of two whole epochs is computed
# of the median embedding; what a base was never trained on is near zero or the same as another
MIN_NORM = 0.1


def looked_at(examples: Sequence[Encoded]) -> list[Encoded]:
    """Return the examples that are looked at: all, or `MAX_ROWS` of them at even distances."""
    return [examples[i] for i in spread(len(examples), MAX_ROWS)]


def checks_before_training(
    tuned: Loaded, parts: Parts, recipe: Recipe, base_logits: Sequence[Any], *, window: int, scale: float
) -> Iterator[Check]:
    """Yield every check but those of the rehearsal, in the order of their table.

    `base_logits` are those of `parts.probes` without an adapter, `window` is in tokens, `scale` is the
    adapter's as planned.
    """
    rows = looked_at(parts.train)
    yield from check_rows(rows, tuned, window)
    yield from check_prompts(tuned, parts)
    yield check_answers(rows, tuned, is_text=is_text(parts.heldout))
    yield check_order(len(parts.train), recipe)
    yield check_adapter_whole(tuned.model, scale)
    yield check_fresh(tuned, parts, base_logits)
    yield check_learning_rate(recipe)


def is_text(conversations: Sequence[Conversation]) -> bool:
    """Return whether any of them is plain text, which no template lays out."""
    return any(conversation.turns[0].role == TEXT for conversation in conversations)


def check_rows(rows: Sequence[Encoded], tuned: Loaded, window: int) -> Iterator[Check]:
    """What every example must have, whatever was said in it."""
    vocabulary = tuned.model.get_input_embeddings().weight.shape[0]
    bad = [
        e
        for e in rows
        if not e.num_trained or e.loss_mask[0] or len(e.ids) > window or e.ids.max() >= vocabulary
    ]
    yield Check("rows_trained", not bad, _count(bad, rows), FAULT)
    begin = tuned.tokenizer.bos_token_id
    twice = [e for e in rows if begin is not None and e.ids[:2].tolist() == [begin, begin]]
    yield Check("rows_begin", not twice, _count(twice, rows), FAULT)
    endless = [e for e in rows if e.ids[_last_trained(e)] not in tuned.eos_ids]
    yield Check("rows_end", len(endless) <= (1 - MIN_SHARE) * len(rows), _count(endless, rows), FAULT)


def check_answers(rows: Sequence[Encoded], tuned: Loaded, *, is_text: bool) -> Check:
    """Before the last answer of every example stands what ends a prompt. Plain text is all answer."""
    sign = () if is_text else prompt_end(tuned.tokenizer)
    elsewhere = [e for e in rows if _before_answer(e)[len(_before_answer(e)) - len(sign) :] != sign]
    return Check("answers_after_prompts", len(elsewhere) <= 0.01 * len(rows), _count(elsewhere, rows), FAULT)


def _count(bad: Sequence[Encoded], rows: Sequence[Encoded]) -> Message:
    return say("{count} of the {total} examples that were checked", count=len(bad), total=len(rows))


def _last_trained(example: Encoded) -> int:
    trained = np.flatnonzero(example.loss_mask)
    return int(trained[-1]) if len(trained) else 0


def _before_answer(example: Encoded) -> tuple[int, ...]:
    """Return what stands before the last answer."""
    place = _last_trained(example)
    while place > 0 and example.loss_mask[place]:
        place -= 1
    return tuple(example.ids[: place + 1].tolist())


def prompt_end(tokenizer: Tokenizer) -> tuple[int, ...]:
    """Return tokens with which every prompt ends, from its last special token on: before that they may melt
    into what is asked.
    """
    one, other = (encode_prompt(tokenizer, [Turn("user", text)]) for text in ("nuguna?", "누구나"))
    length = 0
    while length < min(len(one), len(other)) and one[-1 - length] == other[-1 - length]:
        length += 1
    same = one[len(one) - length :]
    special = {
        *tokenizer.all_special_ids,
        *(i for i, token in tokenizer.added_tokens_decoder.items() if token.special),
    }
    begin = max((i for i, token in enumerate(same) if token in special), default=max(0, len(same) - 1))
    return tuple(same[begin:])


def check_prompts(tuned: Loaded, parts: Parts) -> Iterator[Check]:
    """What `ask` sends for a question is what training shows before its answer, and what the model's library
    makes of it.
    """
    tokenizer = tuned.tokenizer
    differing = [c for c, e in whole_pairs(parts) if not asks_as_trained(tokenizer, c, e)]
    seen = say("{count} of the first {total} measured questions", count=len(differing), total=NUM_QUESTIONS)
    yield Check("prompts_as_asked", not differing, seen, FAULT)
    turns = fitting_turns(tokenizer, parts.heldout[0].prompt)
    if (
        is_text(parts.heldout[:1])
        or any(turn.role not in ("system", "user") for turn in turns)
        or parts.heldout[0].tools
    ):
        return
    messages = [as_message(turn) for turn in turns]
    expected = tokenizer.apply_chat_template(
        messages, tokenize=True, add_generation_prompt=True, return_dict=False
    )
    found = encode_prompt(tokenizer, parts.heldout[0].prompt)
    seen = say("{a} tokens instead of {b}", a=len(found), b=len(expected))
    yield Check("prompts_as_published", list(expected) == found, seen, FAULT)


def check_order(num_examples: int, recipe: Recipe) -> Check:
    """Each step has its examples, an epoch has each example once, and the order depends on seed and epoch
    alone.
    """
    size, seed = recipe.batch_size, recipe.seed
    steps = [
        step_indices(num_examples, size, seed, step)
        for step in range(max(1, min(recipe.max_steps, num_examples // size)))
    ]
    flat = [i for indices in steps for i in indices]
    is_whole = all(len(indices) == size for indices in steps) and all(0 <= i < num_examples for i in flat)
    is_once = len(set(flat)) == min(num_examples, len(flat))
    seen = say("{found} different examples in the first {total}", found=len(set(flat)), total=len(flat))
    if num_examples > MAX_ORDERED:
        return Check("order", is_whole and is_once, seen, FAULT)
    first, second = (epoch_order(num_examples, seed, epoch) for epoch in (0, 1))
    epoch_order.cache_clear()
    is_same_again = first == epoch_order(num_examples, seed, 0)
    # of 12 examples two epochs have the same order once in 479,001,600 times
    is_shuffled = num_examples < 12 or first != second
    return Check("order", is_whole and is_once and is_same_again and is_shuffled, seen, FAULT)


def check_adapter_whole(model: CausalLM, scale: float) -> Check:
    """Exactly the adapter is trained, in float32, on every linear layer of the blocks, once, with the planned
    scale.
    """
    layers, trained = lora_layers(model), adapter_parameters(model)
    own = {name for name, _ in model.named_parameters() if ".lora_" in name}
    bare = linears_without_adapter(model)
    other_scale = [
        name for name, layer in layers.items() if any(value != scale for value in layer.scaling.values())
    ]
    twice = [
        name
        for name, layer in layers.items()
        if len(layer.lora_A) != 1 or ".base_layer" in name or ".lora_" in name
    ]
    rounded = [name for name, parameter in trained.items() if parameter.dtype != torch.float32]
    problems = [
        (not own, say("no layer has an adapter")),
        (bool(own - set(trained)), say("{count} of its matrices are frozen", count=len(own - set(trained)))),
        (
            bool(set(trained) - own),
            say("{count} weights of the base model would be trained", count=len(set(trained) - own)),
        ),
        (
            bool(bare),
            say("{count} layers have none; the first is {name}", count=len(bare), name=next(iter(bare), "")),
        ),
        (bool(twice), say("{count} layers have more than one", count=len(twice))),
        (bool(other_scale), say("{count} layers scale it differently than planned", count=len(other_scale))),
        (
            bool(rounded),
            say("{count} matrices are too coarse for small steps (not float32)", count=len(rounded)),
        ),
    ]
    found = next((message for is_wrong, message in problems if is_wrong), None)
    return Check("adapter_whole", found is None, found or say("{count} layers", count=len(layers)), FAULT)


def check_fresh(tuned: Loaded, parts: Parts, base_logits: Sequence[Any]) -> Check:
    """With a fresh adapter the model computes what it computed without one."""
    chosen = min(range(len(parts.probes)), key=lambda i: sum(len(turn.content) for turn in parts.probes[i]))
    (found,) = probe_logits(tuned, [parts.probes[chosen]])
    difference = float((found - base_logits[chosen]).abs().max())
    seen = say("logits differ from the base model by up to {difference}", difference=f"{difference:.2g}")
    return Check("adapter_fresh", difference <= RELOAD_TOLERANCE, seen, FAULT)


def check_learning_rate(recipe: Recipe) -> Check:
    """Some step has a learning rate above zero, and none one that is no number."""
    rates = [learning_rate_at(step, recipe) for step in spread(recipe.max_steps, MAX_ROWS)]
    is_sound = max(rates) > 0 and all(math.isfinite(rate) and rate >= 0 for rate in rates)
    return Check("learning_rate", is_sound, say("at most {rate}", rate=max(rates)), FAULT)


@torch.no_grad()
def suspicions(tuned: Loaded, parts: Parts) -> Iterator[Message]:
    """Yield what is not wrong for certain: signs of the template that the base never learned; they stay so,
    embeddings being frozen.
    """
    if is_text(parts.heldout[:1]):
        return
    tokenizer, weight = tuned.tokenizer, tuned.model.get_input_embeddings().weight
    special = {
        *tokenizer.all_special_ids,
        *(i for i, token in tokenizer.added_tokens_decoder.items() if token.special),
    }
    used = sorted(
        special & {*parts.heldout_encoded[0].ids.tolist(), *encode_prompt(tokenizer, parts.heldout[0].prompt)}
    )
    if not used or not weight.is_floating_point():
        return
    norms = weight[spread(len(weight), MAX_ROWS)].float().norm(dim=1)
    rows = weight[used].float()
    few = rows.norm(dim=1) < MIN_NORM * norms.median()
    same = (rows[:, None] == rows[None]).all(2).sum(1) > 1
    unlearned = [token for token, is_bad in zip(used, (few | same).tolist(), strict=True) if is_bad]
    if unlearned:
        signs = ", ".join(str(token) for token in tokenizer.convert_ids_to_tokens(unlearned))
        yield say(
            "The base model seems never to have learned these special tokens of its chat template: "
            "{signs}. A model made for conversations (instruct, chat) will learn better.",
            signs=signs,
        )
