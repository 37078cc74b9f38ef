"""Exact causal attention in blocks of queries, for processors and Apple GPUs, without kernels of our own.

torch's own fused attention is slow backward on a CPU (it takes a quarter of a training step) and does not
exist backward on MPS (torch 2.13 to 2.15), where all scores would be kept. Here a block of queries meets the
keys it may see in plain batched matrix products; the backward pass computes the block's scores again (Dao et
al., FlashAttention, arXiv 2205.14135, section 3.1, without the tiling over keys: a block of queries sees a
whole row of keys at once, so no running maximum is needed).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable

from ..machine.device_profile import DEVICE_PROFILES

# Documents of unlike length may go side by side, padded, as long as the pairs of tokens grow by no more than
# this (assumed).
MAX_PADDED = 1.15


@dataclass(frozen=True)
class AttentionRules:
    """What a model's attention does beside softmax(q kᵀ · scaling) v."""

    scaling: float
    sliding_window: int | None = None  # a token sees only so many tokens, itself included
    softcap: float | None = None  # scores are bent into ±softcap (Gemma 2, arXiv 2408.00118, section 2)


@dataclass(frozen=True)
class Group:
    """Documents that lie side by side in the row and go through together, each padded to the longest."""

    device: torch.device
    start: int  # first token in the row
    num_tokens: int
    count: int
    longest: int
    # (count * longest,): place in the group of each padded token; None when all are equally long
    gather: Tensor | None
    scatter: Tensor | None  # (num_tokens,): where each token is among the padded ones
    is_real: Tensor | None  # (count, 1, longest, 1): whether a token is one, or only pads

    def pad(self, x: Tensor, kv_heads: int) -> Tensor:
        """Return (tokens of the row, heads, dim) → (count * kv_heads, longest * heads / kv_heads, dim),
        contiguous.

        The heads that share a key lie side by side, so that a block of queries is one matrix. What pads is a
        token that nobody sees.
        """
        by_key = self.rows(x).reshape(self.count, self.longest, kv_heads, -1, x.shape[2]).transpose(1, 2)
        return by_key.reshape(self.count * kv_heads, -1, x.shape[2])

    def rows(self, x: Tensor) -> Tensor:
        """Return the padded rows of the group, (count * longest, heads, dim)."""
        rows = x[self.start : self.start + self.num_tokens]
        return rows if self.gather is None else rows.index_select(0, self.gather)

    def unpad(self, x: Tensor) -> Tensor:
        """Return the way back: (num_tokens, heads, dim)."""
        rows = x.view(self.count, -1, self.longest, x.shape[1] // self.longest, x.shape[2]).transpose(1, 2)
        rows = rows.reshape(self.count * self.longest, -1, x.shape[2])
        return rows if self.scatter is None else rows.index_select(0, self.scatter)


@lru_cache(maxsize=16)  # all layers of a step ask for the same
def make_groups(lengths: tuple[int, ...], first: int, device: torch.device) -> tuple[Group, ...]:
    """Groups of neighbours of like length; `first` is the place in the row where the first of them begins."""
    groups: list[Group] = []
    start, i = first, 0
    while i < len(lengths):
        count, pairs = 1, lengths[i] ** 2
        while i + count < len(lengths):
            longest = max(lengths[i : i + count + 1])
            if longest**2 * (count + 1) > MAX_PADDED * (pairs + lengths[i + count] ** 2):
                break
            pairs += lengths[i + count] ** 2
            count += 1
        groups.append(_make_group(start, lengths[i : i + count], device))
        start, i = start + groups[-1].num_tokens, i + count
    return tuple(groups)


def _make_group(start: int, lengths: tuple[int, ...], device: torch.device) -> Group:
    longest, total = max(lengths), sum(lengths)
    if longest * len(lengths) == total:
        return Group(device, start, total, len(lengths), longest, None, None, None)
    sizes = torch.tensor(lengths)
    place = torch.arange(longest)[None].minimum(sizes[:, None] - 1)  # the last token pads
    gather = (sizes.cumsum(0) - sizes)[:, None] + place  # (count, longest)
    real = torch.arange(longest)[None] < sizes[:, None]
    places = gather.flatten().to(device), real.flatten().nonzero()[:, 0].to(device)
    return Group(device, start, total, len(lengths), longest, *places, real[:, None, :, None].to(device))


def attend_in_blocks(
    q: Tensor, k: Tensor, v: Tensor, lengths: tuple[int, ...], prefix: int, rules: AttentionRules
) -> Tensor:
    """q (tokens, heads, dim), k and v (tokens, kv_heads, dim) → (tokens, heads, dim).

    The row holds `prefix` tokens, which see each other, then documents of `lengths`, which see the prefix and
    themselves.
    """
    return _Blockwise.apply(q, k, v, lengths, prefix, rules)  # type: ignore[no-untyped-call, no-any-return]


class _Blockwise(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: FunctionCtx,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        lengths: tuple[int, ...],
        prefix: int,
        rules: AttentionRules,
    ) -> Tensor:
        out = torch.empty(q.shape, dtype=q.dtype, device=q.device)  # contiguous, whatever q is
        kept: list[Tensor] = []
        with _exact_scores(q):
            for group, keys, values in _parts(k, v, lengths, prefix):
                queries = group.pad(q, k.shape[1])
                result = torch.empty_like(queries)
                for block in _blocks(group, queries, keys, rules):
                    probabilities, _ = block.probabilities()
                    torch.bmm(probabilities, values[:, block.columns], out=result[:, block.rows])
                    if _is_kept(group, rules):
                        kept.append(probabilities)
                out[group.start : group.start + group.num_tokens] = group.unpad(result)
        ctx.save_for_backward(q, k, v, *kept)
        ctx.layout = lengths, prefix, rules  # type: ignore[attr-defined]
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_out: Tensor) -> tuple[Tensor, Tensor, Tensor, None, None, None]:
        q, k, v, *kept = ctx.saved_tensors
        lengths, prefix, rules = ctx.layout
        dq, dk, dv = (torch.empty(x.shape, dtype=x.dtype, device=x.device) for x in (q, k, v))
        # (kv_heads, prefix, dim): from all continuations
        shared = [torch.zeros_like(x[:prefix].transpose(0, 1)) for x in (k, v)]
        with _exact_scores(q):
            for group, keys, values in reversed(_parts(k, v, lengths, prefix)):
                d_result = group.pad(d_out, k.shape[1])
                if group.is_real is not None:
                    d_result.view(group.count, k.shape[1], group.longest, -1).mul_(
                        group.is_real.to(d_out.dtype)
                    )
                d_queries, *d_parts = _group_backward(
                    group, group.pad(q, k.shape[1]), keys, values, d_result, rules, kept
                )
                place = slice(group.start, group.start + group.num_tokens)
                dq[place] = group.unpad(d_queries)
                num_before = keys.shape[1] - group.longest
                for target, d_part, d_shared in zip((dk, dv), d_parts, shared, strict=True):
                    if num_before:
                        d_shared += d_part[:, :num_before].view(group.count, *d_shared.shape).sum(0)
                        d_part = d_part[:, num_before:].contiguous()
                    target[place] = group.unpad(d_part)
        if prefix:
            dk[:prefix] += shared[0].transpose(0, 1)
            dv[:prefix] += shared[1].transpose(0, 1)
        return dq, dk, dv, None, None, None


def _parts(k: Tensor, v: Tensor, lengths: tuple[int, ...], prefix: int) -> list[tuple[Group, Tensor, Tensor]]:
    """Return each group with the keys and values it may see: (count * kv_heads, prefix + longest, dim)."""
    groups = make_groups(lengths, prefix, k.device)
    if not prefix:
        return [(group, group.pad(k, k.shape[1]), group.pad(v, k.shape[1])) for group in groups]
    alone = _make_group(0, (prefix,), k.device)
    before = [alone.pad(x, k.shape[1]) for x in (k, v)]
    parts = [(alone, before[0], before[1])]
    for group in groups:
        own = [group.pad(x, k.shape[1]) for x in (k, v)]
        keys, values = (
            torch.cat([x.repeat(group.count, 1, 1), y], 1) for x, y in zip(before, own, strict=True)
        )
        parts.append((group, keys, values))
    return parts


def _is_kept(group: Group, rules: AttentionRules) -> bool:
    return group.longest <= DEVICE_PROFILES[group.device.type].kept_softmax_tokens and rules.softcap is None


def _group_backward(
    group: Group,
    queries: Tensor,
    keys: Tensor,
    values: Tensor,
    d_result: Tensor,
    rules: AttentionRules,
    kept: list[Tensor],
) -> tuple[Tensor, Tensor, Tensor]:
    """Return gradients of queries, keys and values; takes the group's softmax from the end of `kept`, if it
    is there.
    """
    d_queries, d_keys, d_values = torch.empty_like(queries), torch.zeros_like(keys), torch.zeros_like(values)
    for block in reversed(list(_blocks(group, queries, keys, rules))):
        rows, columns = block.rows, block.columns
        probabilities, bent = (kept.pop(), None) if _is_kept(group, rules) else block.probabilities()
        d_probabilities = torch.bmm(d_result[:, rows], values[:, columns].transpose(1, 2))
        d_values[:, columns].baddbmm_(probabilities.transpose(1, 2), d_result[:, rows])
        d_scores = torch.ops.aten._softmax_backward_data(
            d_probabilities, probabilities, -1, probabilities.dtype
        )
        if bent is not None:
            d_scores *= (1 - bent.square_()).to(d_scores.dtype)
        torch.bmm(d_scores, keys[:, columns], out=d_queries[:, rows])
        d_keys[:, columns].baddbmm_(d_scores.transpose(1, 2), queries[:, rows])
    return d_queries.mul_(rules.scaling), d_keys.mul_(rules.scaling), d_values


@dataclass(frozen=True)
class _Block:
    """A block of queries of all documents and heads of a group, and the keys that any of them may see."""

    queries: Tensor  # (count * kv_heads, rows, dim), float32, times the power of two in the scaling
    keys: Tensor  # (count * kv_heads, seen, dim), float32
    rows: slice  # among the rows of the padded group, all heads of a key
    columns: slice  # among its keys
    hidden: Tensor  # (rows / heads of a key, 1, the last of seen): what is added to the scores
    rules: AttentionRules
    dtype: torch.dtype

    def probabilities(self) -> tuple[Tensor, Tensor | None]:
        """Return the softmax (count * kv_heads, rows, seen), computed in float32, and what the soft cap made
        of the scores before it.
        """
        scores = torch.bmm(self.queries, self.keys.transpose(1, 2))
        mantissa, _ = math.frexp(self.rules.scaling)
        if mantissa != 0.5:
            scores *= mantissa
        bent = None
        if self.rules.softcap is not None:
            bent = scores.mul_(1 / self.rules.softcap).tanh_()
            scores = bent * self.rules.softcap
        # (…, rows, heads of a key, seen)
        by_head = scores.view(len(scores), len(self.hidden), -1, scores.shape[2])
        by_head[..., -self.hidden.shape[2] :] += self.hidden
        return scores.softmax(-1).to(self.dtype), bent


def _blocks(group: Group, queries: Tensor, keys: Tensor, rules: AttentionRules) -> Iterator[_Block]:
    """Yield the blocks of a group; what each may see begins with all tokens of a shared prefix."""
    per_key, step = queries.shape[1] // group.longest, DEVICE_PROFILES[queries.device.type].block_rows
    shared = keys.shape[1] - group.longest
    # a power of two changes no digit, so it costs no precision to multiply before
    mantissa, exponent = math.frexp(rules.scaling)
    exact_queries, exact_keys = queries.float() * 2.0 ** (exponent - (mantissa == 0.5)), keys.float()
    for first in range(0, group.longest, step):
        last = min(group.longest, first + step)
        oldest = 0 if rules.sliding_window is None else max(0, shared + first - rules.sliding_window + 1)
        rows, columns = slice(first * per_key, last * per_key), slice(oldest, shared + last)
        # without a window all that comes before the block is seen, and only the corner has to be hidden
        num_hidden = last - first if rules.sliding_window is None else shared + last - oldest
        hidden = _hidden(last - first, num_hidden, rules.sliding_window, queries.device)
        yield _Block(
            exact_queries[:, rows], exact_keys[:, columns], rows, columns, hidden, rules, queries.dtype
        )


@lru_cache(maxsize=64)
def _hidden(num_rows: int, num_seen: int, window: int | None, device: torch.device) -> Tensor:
    """Return (rows, 1, seen), 0 where a token is seen and -inf elsewhere; the last row is the last of the
    keys.
    """
    place = torch.arange(num_seen - num_rows, num_seen, device=device)[:, None] - torch.arange(
        num_seen, device=device
    )
    is_hidden = place < 0 if window is None else (place < 0) | (place >= window)
    return torch.zeros(num_rows, num_seen, device=device).masked_fill_(is_hidden, float("-inf"))[:, None]


@contextmanager
def _exact_scores(like: Tensor) -> Iterator[None]:
    """Products of bfloat16 numbers, added and returned in float32.

    Rounding a score of 16 to bfloat16 is off by up to 0.06, 6 % of its softmax. A float32 product keeps it;
    this flag lets oneDNN read the inputs as the bfloat16 numbers they are, which costs a sixth more time than
    scores in bfloat16 (docs/log.md).
    """
    flags = torch.backends.mkldnn.matmul  # type: ignore[attr-defined]
    if (
        like.device.type != "cpu"
        or like.dtype != torch.bfloat16
        or not torch.ops.mkldnn._is_mkldnn_bf16_supported()
    ):
        yield
        return
    before = flags.fp32_precision
    flags.fp32_precision = "bf16"
    try:
        yield
    finally:
        flags.fp32_precision = before
