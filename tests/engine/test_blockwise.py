"""Attention in blocks of queries against the textbook formula: forward and gradients, for every rule a model
may have.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from nuguna.engine.blockwise import AttentionRules, attend_in_blocks, make_groups
from nuguna.machine.device_profile import DEVICE_PROFILES

CPU = torch.device("cpu")
LENGTHS = (10, 11, 11, 1, 17, 33)  # the first three go together, and one of them is padded


def textbook(q: Tensor, k: Tensor, v: Tensor, lengths: tuple[int, ...], prefix: int, rules: AttentionRules) -> Tensor:
    """Return the whole matrix of scores of all tokens with all, what must not be seen taken out, in
    float64.
    """
    group = q.shape[1] // k.shape[1]
    k, v = (x.repeat_interleave(group, 1) for x in (k, v))
    document = torch.repeat_interleave(torch.arange(len(lengths) + 1), torch.tensor((prefix, *lengths)))
    place = torch.cat([torch.arange(prefix)] + [prefix + torch.arange(n) for n in lengths])
    seen = (document[:, None] == document) | (document == 0)
    distance = place[:, None] - place
    seen &= (distance >= 0) & (distance < (rules.sliding_window or 10**6))
    scores = torch.einsum("qhd,khd->hqk", q.double(), k.double()) * rules.scaling
    if rules.softcap is not None:
        scores = rules.softcap * torch.tanh(scores / rules.softcap)
    return torch.einsum("hqk,khd->qhd", scores.masked_fill(~seen, float("-inf")).softmax(-1), v.double())


def both(
    lengths: tuple[int, ...],
    prefix: int,
    rules: AttentionRules,
    dtype: torch.dtype = torch.float32,
    heads: tuple[int, int] = (6, 2),
) -> tuple[list[Tensor], list[Tensor]]:
    """Return (found, expected): the output and the gradients of q, k and v, each."""
    generator = torch.Generator().manual_seed(1)
    tokens = prefix + sum(lengths)
    q, k, v, d_out = (2 * torch.randn(tokens, n, 8, generator=generator) for n in (heads[0], heads[1], heads[1], heads[0]))
    results = []
    for function, kind in ((attend_in_blocks, dtype), (textbook, torch.float64)):
        inputs = [x.to(dtype).to(kind).requires_grad_() for x in (q, k, v)]
        out = function(inputs[0], inputs[1], inputs[2], lengths, prefix, rules)
        results.append([out.detach(), *torch.autograd.grad(out, inputs, d_out.to(kind))])
    return results[0], results[1]


@pytest.mark.parametrize("rows", [2, 4, 128])
@pytest.mark.parametrize("kept_length", [0, 12, 256])
@pytest.mark.parametrize("prefix", [0, 7])
@pytest.mark.parametrize(
    "rules",
    [
        AttentionRules(0.125),
        AttentionRules(0.3),
        AttentionRules(0.3, sliding_window=5),
        AttentionRules(0.3, sliding_window=5, softcap=2.0),
    ],
)
def test_it_is_the_textbook_formula(
    rules: AttentionRules, prefix: int, kept_length: int, rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    profile = replace(DEVICE_PROFILES["cpu"], block_rows=rows, kept_softmax_tokens=kept_length)
    monkeypatch.setitem(DEVICE_PROFILES, "cpu", profile)
    for found, expected in zip(*both(LENGTHS, prefix, rules), strict=True):
        torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("heads", [(4, 4), (4, 1)])
def test_with_one_key_for_each_head_or_for_all(heads: tuple[int, int]) -> None:
    for found, expected in zip(*both(LENGTHS, 0, AttentionRules(0.3), heads=heads), strict=True):
        torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("scaling", [0.25, 1.0, 0.9])  # 1.0: scores up to 80, where bfloat16 would round them by a quarter
def test_scores_of_bfloat16_are_kept_in_float32(scaling: float) -> None:
    for found, expected in zip(*both(LENGTHS, 0, AttentionRules(scaling), torch.bfloat16), strict=True):
        assert float((found.double() - expected).norm() / expected.norm()) < 0.01
    assert torch.backends.mkldnn.matmul.fp32_precision != "bf16"  # type: ignore[attr-defined]  # the flag is set for our products alone


def test_like_lengths_go_together_and_unlike_ones_do_not() -> None:
    groups = make_groups((10, 10, 10, 11, 40, 100), 3, CPU)
    assert [(g.start, g.num_tokens, g.count, g.longest) for g in groups] == [(3, 41, 4, 11), (44, 40, 1, 40), (84, 100, 1, 100)]
    assert groups[1].gather is None  # nothing to pad


def test_a_document_sees_no_other() -> None:
    q, k, v = (torch.randn(40, 2, 8) for _ in range(3))
    before = attend_in_blocks(q, k, v, (10, 11, 19), 0, AttentionRules(0.3))
    k[10:21], v[10:21] = 100.0, -100.0  # the second document
    after = attend_in_blocks(q, k, v, (10, 11, 19), 0, AttentionRules(0.3))
    assert torch.equal(before[:10], after[:10]) and torch.equal(before[21:], after[21:])
    assert not torch.equal(before[10:21], after[10:21])


def test_what_is_no_number_stays_in_its_document() -> None:
    q, k, v = (torch.randn(15, 2, 8) for _ in range(3))
    alone = attend_in_blocks(q[:7], k[:7], v[:7], (7,), 0, AttentionRules(0.3))
    q[-1], k[-1], v[-1] = float("nan"), float("nan"), float("nan")
    together = attend_in_blocks(q, k, v, (7, 8), 0, AttentionRules(0.3))
    torch.testing.assert_close(together[:7], alone)
