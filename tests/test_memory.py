"""Memory and work by arithmetic: against published numbers, and in the directions that must hold."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from nuguna.catalog import BaseModel, load_catalog
from nuguna.memory import MemoryEstimate, estimate, lora_parameters, step_flops

PARTS = ["weights", "adapter", "optimizer", "activations", "logits", "overhead"]
USUAL: dict[str, Any] = {
    "lora_r": 32,
    "micro_batch_size": 4,
    "max_seq_length": 512,
    "dtype": "bfloat16",
    "quantization": "none",
    "gradient_checkpointing": False,
    "device": "cuda",
}


def model(name: str) -> BaseModel:
    return next(model for model in load_catalog() if model.id.endswith(name))


def usual(**changes: Any) -> MemoryEstimate:
    return estimate(model("Llama-3.2-3B-Instruct"), **{**USUAL, **changes})


def llama3_8b() -> BaseModel:
    kanana = model("kanana-1.5-8b-instruct-2505")  # the same shape but for three tokens
    return replace(kanana, shape=replace(kanana.shape, vocab_size=128_256))


def test_parts_add_up() -> None:
    result = usual()
    assert list(result.parts) == PARTS
    assert all(isinstance(part, int) and part > 0 for part in result.parts.values())
    assert result.total_bytes == sum(result.parts.values())


def test_lora_parameters_counted_by_hand() -> None:
    # Llama-3.2-1B, all linear layers, r=16: peft prints 11,272,192.
    assert lora_parameters(model("Llama-3.2-1B-Instruct").shape, 16) == 11_272_192
    # Llama-3-8B, all linear layers, r=16: 41,943,040, as printed in many published logs.
    assert lora_parameters(llama3_8b().shape, 16) == 41_943_040
    # Two matrices in the MLP instead of three.
    assert lora_parameters(model("DialoGPT-medium").shape, 8) == 24 * 8 * (4 * 2048 + 2 * 5120)


def test_weights_adapter_and_optimizer_are_exact() -> None:
    base, result = model("Llama-3.2-3B-Instruct"), usual()
    trained = lora_parameters(base.shape, 32)
    assert result.parts["weights"] == 2 * base.num_parameters
    assert result.parts["adapter"] == result.parts["optimizer"] == 8 * trained
    assert usual(dtype="float32").parts["weights"] == 4 * base.num_parameters


def test_above_the_peak_that_peft_measured() -> None:
    # peft's own benchmark on an L40S: Llama-3.2-3B, bfloat16, batches of 4 of at most 768 tokens, r=32 on q and v: 22.3 GB at
    # most, 14.4 GB on average (method_comparison/MetaMathQA, 2026-07). Ours has all layers and every row at full length.
    peak = usual(max_seq_length=768).total_bytes
    assert 22.3e9 < peak < 1.6 * 22.3e9


def test_quantized_8b_fits_small_gpus_as_published() -> None:
    # QLoRA of an 8B model is known to run in 8 GB with little to spare and easily in 12 (Unsloth's table of 2025-10).
    peak = estimate(llama3_8b(), **{**USUAL, "micro_batch_size": 1, "quantization": "4bit", "gradient_checkpointing": True})
    assert 6 * 2**30 < peak.total_bytes < 12 * 2**30


@pytest.mark.parametrize(
    ("less", "more"),
    [
        ({"micro_batch_size": 1}, {}),
        ({"max_seq_length": 256}, {}),
        ({"lora_r": 8}, {}),
        ({}, {"dtype": "float32"}),
        ({"gradient_checkpointing": True}, {}),
        ({"quantization": "4bit"}, {"quantization": "8bit"}),
        ({"quantization": "8bit"}, {}),
        ({}, {"device": "mps", "max_seq_length": 512}),
    ],
    ids=str,
)
def test_directions(less: dict[str, Any], more: dict[str, Any]) -> None:
    assert usual(**less).total_bytes < usual(**more).total_bytes


def test_attention_memory_grows_with_the_square_only_on_mps() -> None:
    def growth(device: str) -> float:
        short, long = (usual(device=device, max_seq_length=length).parts["activations"] for length in (2048, 4096))
        return long / short

    assert growth("cuda") == pytest.approx(2)
    assert growth("mps") > 2.5


@pytest.mark.parametrize("base", load_catalog(), ids=lambda base: base.id)
def test_every_model_of_the_catalogue_can_be_estimated(base: BaseModel) -> None:
    for device in ("cuda", "mps", "cpu"):
        assert estimate(base, **{**USUAL, "device": device}).total_bytes > 2 * base.num_parameters


def test_flops_agree_with_nvidias_lora_table() -> None:
    # Llama-3-8B on one H100, length 4096, r=16: 402 TFLOP/s at 12,472.87 tokens/s (NeMo AutoModel), 32.2 GFLOP a token.
    measured = 402e12 / 12_472.87
    assert step_flops(llama3_8b(), 1, 16, max_seq_length=4096) == pytest.approx(measured, rel=0.05)


def test_flops_grow_with_tokens_and_checkpointing() -> None:
    base = model("Qwen3-0.6B")
    once = step_flops(base, 1000, 32)
    assert step_flops(base, 2000, 32) == 2 * once
    # The blocks are computed a second time, half of what forward and backward through them cost; the output matrix is not.
    assert 1.2 * once < step_flops(base, 1000, 32, gradient_checkpointing=True) < 1.5 * once
    assert step_flops(base, 1000, 64) > once
