"""Frozen weights of 4 or 8 bits (bitsandbytes): made whole for one product and freed at once.

Source: Dettmers et al., QLoRA, arXiv:2305.14314 (NF4 with double quantization); Dettmers et al., LLM.int8(),
arXiv:2208.07339 (one scale a row). Products are computed in the dtype of their input, so a training step sees
no quantized activations.
"""

from __future__ import annotations

from typing import Any, Union

import torch
from torch import Tensor, nn

from ..errors import first_line
from ..message import Message, say
from .causal_lm import CausalLM

Weight = Union[Tensor, "Quantized"]


class Quantized:
    """The weight of a layer of bitsandbytes, (outputs, inputs)."""

    def __init__(self, layer: Any) -> None:
        self._layer = layer

    def values(self, dtype: torch.dtype) -> Tensor:
        """Return all of it in `dtype`."""
        from bitsandbytes import functional

        layer, weight = self._layer, self._layer.weight
        if type(layer).__name__ == "Linear4bit":
            return functional.dequantize_4bit(weight.data, weight.quant_state).to(dtype)  # type: ignore[no-any-return]
        # the first call of the layer moves both from the weight to its state
        rows, scales = (
            getattr(layer.state, name) if getattr(weight, name) is None else getattr(weight, name)
            for name in _INT8
        )
        return (rows.to(dtype) * (scales / 127.0).to(dtype)[:, None]).contiguous()  # type: ignore[no-any-return]


_INT8 = ("CB", "SCB")  # int8 numbers and the largest of each row


def keep_layout(model: CausalLM) -> None:
    """Let no layer lay its weight out anew. bitsandbytes 0.50 does so in the first forward pass of a 4-bit
    model on a CPU with AVX512_BF16 that is not training, and never undoes it for the passes of a training,
    whose numbers are then wrong.
    """
    for layer in model.modules():
        if is_quantized(layer) and hasattr(layer, "support_avx512bf16_for_cpu"):
            setattr(layer, "support_avx512bf16_for_cpu", False)  # noqa: B010 - no attribute that nn.Module knows


def is_quantized(layer: nn.Module) -> bool:
    """Return whether its weight can be read by `Quantized`."""
    return type(layer).__module__.startswith("bitsandbytes") and type(layer).__name__ in (
        "Linear4bit",
        "Linear8bitLt",
    )


def dense(weight: Weight, dtype: torch.dtype) -> Tensor:
    """Return the weight as one matrix (outputs, inputs)."""
    return weight if isinstance(weight, Tensor) else weight.values(dtype)


def problem(kind: str, device: str) -> Message | None:
    """Return why weights of "4bit" or "8bit" cannot be used on a device; None if they can. Found out by doing
    it.
    """
    try:
        import bitsandbytes as bnb
    except ImportError:
        return say("the package bitsandbytes is not installed")
    except Exception as error:  # noqa: BLE001 - a library that does not load fails in many ways
        return say("{reason}", reason=first_line(error))
    try:
        with torch.no_grad():
            random = torch.Generator().manual_seed(0)
            weight, x = (torch.randn(rows, 128, generator=random) for rows in (64, 3))
            if kind == "4bit":
                layer: Any = bnb.nn.Linear4bit(
                    128, 64, bias=False, compute_dtype=torch.float32, quant_type="nf4"
                )
                layer.weight = bnb.nn.Params4bit(weight, requires_grad=False, quant_type="nf4")
            else:
                layer = bnb.nn.Linear8bitLt(128, 64, bias=False, has_fp16_weights=False)
                layer.weight = bnb.nn.Int8Params(weight, requires_grad=False, has_fp16_weights=False)
            layer = layer.to(device)
            found = layer(x.to(device)).float().cpu()
            whole = Quantized(layer).values(torch.float32).cpu()
    except Exception as error:  # noqa: BLE001 - whatever it is, this machine cannot do it
        return say("{reason}", reason=first_line(error))
    expected = x @ weight.t()
    if max(_distance(found, expected), _distance(x @ whole.t(), expected)) > MAX_ERROR[kind]:
        return say("bitsandbytes gives wrong results on this device")
    return None


# of a product, as a share of its size: NF4 of normal numbers is about 0.09 off
MAX_ERROR = {"4bit": 0.2, "8bit": 0.05}


def _distance(found: Tensor, expected: Tensor) -> float:
    return float((found - expected).norm() / expected.norm())
