"""The ways through attention that a CUDA GPU takes, with the kernel's documented behaviour in the place of
the kernel.
"""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from nuguna.engine import attention
from nuguna.engine.blockwise import AttentionRules, attend_in_blocks

LENGTHS = (10, 11, 11, 1, 17, 33)


def rows() -> list[Tensor]:
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(sum(LENGTHS), heads, 8, generator=generator) for heads in (4, 2, 2)]


@pytest.mark.parametrize("window", [None, 100, 5])
def test_documents_of_like_length_go_through_fused_attention_together(window: int | None) -> None:
    q, k, v = rows()
    found = attention._attend_on_cuda(q, k, v, LENGTHS, AttentionRules(0.3, window))
    torch.testing.assert_close(found, attend_in_blocks(q, k, v, LENGTHS, 0, AttentionRules(0.3, window)))


@pytest.mark.parametrize("window", [None, 5])
def test_the_kernel_for_documents_of_any_length_is_told_what_it_needs(
    window: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    from torch.nn.attention import varlen

    def documented(
        query: Tensor,
        key: Tensor,
        value: Tensor,
        cu_seq_q: Tensor,
        cu_seq_k: Tensor,
        max_q: int,
        max_k: int,
        *,
        scale: float,
        window_size: tuple[int, int],
        enable_gqa: bool,
    ) -> Tensor:
        """torch.nn.attention.varlen.varlen_attn as its documentation has it: (W, 0) sees W tokens before and
        the token itself.
        """
        assert enable_gqa and max_q == max_k == max(LENGTHS) and cu_seq_q.dtype == torch.int32
        parts = []
        for start, end in zip(cu_seq_q[:-1], cu_seq_q[1:], strict=True):
            q, k, v = (x[start:end].transpose(0, 1) for x in (query, key, value))
            distance = torch.arange(end - start)[:, None] - torch.arange(end - start)
            seen = (distance >= 0) & ((distance <= window_size[0]) | (window_size[0] < 0))
            out = torch.nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=seen, scale=scale, enable_gqa=True)
            parts.append(out.transpose(0, 1))
        return torch.cat(parts)

    monkeypatch.setattr(varlen, "varlen_attn", documented)
    monkeypatch.setattr(attention, "_has_varlen_kernel", lambda device, dtype: True)
    q, k, v = rows()
    found = attention._attend_on_cuda(q, k, v, LENGTHS, AttentionRules(0.3, window))
    torch.testing.assert_close(found, attend_in_blocks(q, k, v, LENGTHS, 0, AttentionRules(0.3, window)))
