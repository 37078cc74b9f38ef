"""Attention over documents that lie end to end in one row: each sees itself alone, and no pad token is ever
computed.

It is handed to transformers by its public AttentionInterface, as one more implementation beside `sdpa` and
`eager`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface

from .blockwise import AttentionRules, attend_in_blocks, make_groups
from .causal_lm import CausalLM

NAME = "nuguna_packed"


def causal(model: CausalLM) -> CausalLM:
    """transformers' own model, which peft may have wrapped."""
    base: CausalLM = model.get_base_model() if hasattr(model, "get_base_model") else model
    return base


@contextmanager
def packed_attention(model: CausalLM, is_wanted: bool) -> Iterator[None]:
    """While the block runs, the model takes rows of documents and wants `document_lengths` with each call;
    afterwards it is as before.

    Recomputed activations (gradient checkpointing) need it during the backward pass too. transformers makes
    no mask for an implementation that it does not know, so that `document_lengths` alone says who sees whom.
    """
    base = causal(model)
    before = base.config._attn_implementation
    if is_wanted:
        AttentionInterface.register(NAME, attend_within_documents)
        base.set_attn_implementation(NAME)
    try:
        yield
    finally:
        if is_wanted:
            base.set_attn_implementation(before)


def attend_within_documents(
    module: object,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: None,
    *,
    document_lengths: Sequence[int],
    shared_prefix: int = 0,
    scaling: float | None = None,
    sliding_window: int | None = None,
    softcap: float | None = None,
    **_: object,
) -> tuple[Tensor, None]:
    """Causal attention of each document with itself, and with the `shared_prefix` first tokens of the row if
    there are any.

    query is (1, heads, tokens, head_dim), key and value (1, kv_heads, tokens, head_dim), the result (1,
    tokens, heads, head_dim). What a model passes beyond the named arguments is not honoured:
    `forward.find_shortcuts` compares numbers before this path is taken.
    """
    q, k, v = (x[0].transpose(0, 1) for x in (query, key, value))  # (tokens, heads, head_dim)
    rules = AttentionRules(q.shape[2] ** -0.5 if scaling is None else scaling, sliding_window, softcap)
    lengths = tuple(document_lengths)
    if q.device.type == "cuda" and softcap is None and not shared_prefix:
        return _attend_on_cuda(q, k, v, lengths, rules)[None], None
    return attend_in_blocks(q, k, v, lengths, shared_prefix, rules)[None], None


def _attend_on_cuda(
    q: Tensor, k: Tensor, v: Tensor, lengths: tuple[int, ...], rules: AttentionRules
) -> Tensor:
    """Return the kernel for documents of any length where torch has it for this GPU and dtype; else those of
    like length together.
    """
    if _has_varlen_kernel(q.device, q.dtype):
        from torch.nn.attention.varlen import varlen_attn

        ends = _document_ends(lengths, q.device)
        # it counts the tokens before
        window = (-1 if rules.sliding_window is None else rules.sliding_window - 1, 0)
        longest = max(lengths)
        q, k, v = (x.contiguous() for x in (q, k, v))
        return varlen_attn(  # type: ignore[return-value]
            q, k, v, ends, ends, longest, longest, scale=rules.scaling, window_size=window, enable_gqa=True
        )
    if rules.sliding_window is not None and max(lengths) > rules.sliding_window:
        return attend_in_blocks(q, k, v, lengths, 0, rules)
    parts = []
    for group in make_groups(lengths, 0, q.device):
        shape = (group.count, group.longest, -1, q.shape[2])
        queries, keys, values = (group.rows(x).reshape(shape).transpose(1, 2) for x in (q, k, v))
        result = scaled_dot_product_attention(
            queries, keys, values, is_causal=True, scale=rules.scaling, enable_gqa=q.shape[1] != k.shape[1]
        )
        rows = result.transpose(1, 2).flatten(0, 1)
        parts.append(rows if group.scatter is None else rows.index_select(0, group.scatter))
    return torch.cat(parts)


@lru_cache(maxsize=4)
def _has_varlen_kernel(device: torch.device, dtype: torch.dtype) -> bool:
    """torch's kernel is FlashAttention's: half precision, compute capability 8.0 and above, in torch 2.10 and
    above.
    """
    try:
        import torch.nn.attention.varlen  # noqa: F401
    except ImportError:
        return False
    return (
        device.type == "cuda"
        and dtype != torch.float32
        and torch.cuda.get_device_capability(device) >= (8, 0)
    )


@lru_cache(maxsize=16)
def _document_ends(lengths: tuple[int, ...], device: torch.device) -> Tensor:
    """Return (documents + 1,), int32: where each document begins, and the end of the last."""
    return torch.tensor((0, *lengths)).cumsum(0).to(device, torch.int32)
