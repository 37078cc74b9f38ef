"""Bytes and floating point operations of LoRA training, by arithmetic alone.

Rather too much than too little: an estimate that is too high costs some speed, one that is too low ends in an
out-of-memory error after the download. Every constant says where it comes from; "assumed" means not measured by us yet.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from .catalog import BaseModel, Shape, block_matrices

DTYPE_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}
# Of the linear layers in the blocks; embeddings, output matrix and norms stay in the compute dtype (bitsandbytes' defaults).
# 8bit: one byte. 4bit: half a byte and a float32 scale for 64 weights, without double quantization (QLoRA, arXiv 2305.14314).
QUANTIZED_BYTES = {"8bit": 1.0, "4bit": 0.5 + 4 / 64}
# What is there before the first weight: the process with its libraries (342 MiB measured with torch 2.13 for CPUs on Linux; the
# rest is assumed); on a GPU the driver's context and matrix workspaces.
OVERHEAD_BYTES = {"cuda": 1024 * 2**20, "mps": 768 * 2**20, "cpu": 768 * 2**20}
FRAGMENTATION = 0.05  # share of all else that the allocator cannot hand out again (assumed)


@dataclass(frozen=True)
class MemoryEstimate:
    """What one training process needs on its device at the worst moment of a step."""

    parts: Mapping[str, int]  # weights, adapter, optimizer, activations, logits, overhead

    @property
    def total_bytes(self) -> int:
        """The sum of the parts."""
        return sum(self.parts.values())


def estimate(
    model: BaseModel,
    *,
    lora_r: int,
    micro_batch_size: int,
    max_seq_length: int,
    dtype: str,
    quantization: str,
    gradient_checkpointing: bool,
    device: str,
) -> MemoryEstimate:
    """Add up the memory of a step on `micro_batch_size` examples, each `max_seq_length` tokens long.

    `dtype`: float32, bfloat16 or float16, for the base weights and activations; `quantization`: none, 8bit or 4bit; `device`:
    cuda, mps or cpu. The adapter, its gradients and AdamW's two moments are float32, 4 bytes each (Kingma & Ba, 2015).
    """
    shape, tokens, element_bytes = model.shape, micro_batch_size * max_seq_length, DTYPE_BYTES[dtype]
    trained = lora_parameters(shape, lora_r)
    layer_bytes = tokens * _saved_bytes_per_token(shape, lora_r, element_bytes)
    if device == "mps":
        # MPS has no fused attention backward (torch 2.13): scores and their softmax are kept, (batch, heads, length, length).
        layer_bytes += 2 * micro_batch_size * shape.num_heads * max_seq_length**2 * element_bytes
    # One layer more than is saved: the gradients of the layer that is going backward.
    activations = (shape.num_layers + 1) * layer_bytes
    if gradient_checkpointing:
        # Each block keeps only its input; one block at a time is computed again (Chen et al., arXiv 1604.06174).
        activations = shape.num_layers * tokens * shape.hidden_size * element_bytes + 2 * layer_bytes
    parts = {
        "weights": _weight_bytes(model, element_bytes, quantization),
        "adapter": trained * (4 + 4),  # values and gradients
        "optimizer": trained * (4 + 4),
        "activations": activations,
        # The logits as computed, their float32 copy for the softmax, and its gradient (transformers' ForCausalLMLoss).
        "logits": tokens * shape.vocab_size * (element_bytes + 4 + 4),
    }
    parts["overhead"] = OVERHEAD_BYTES[device] + int(FRAGMENTATION * sum(parts.values()))
    return MemoryEstimate(parts)


def lora_parameters(shape: Shape, lora_r: int) -> int:
    """Trained numbers with an adapter on all linear layers of the blocks: A (r, inputs) and B (outputs, r) for each.

    Source: Hu et al., LoRA, arXiv 2106.09685, section 4.1. Models that join q, k and v (or gate and up) in one matrix share
    its A, so that they train somewhat fewer.
    """
    return shape.num_layers * sum(lora_r * (inputs + outputs) for inputs, outputs in block_matrices(shape))


def step_flops(
    model: BaseModel, tokens: int, lora_r: int, *, gradient_checkpointing: bool = False, max_seq_length: int = 512
) -> float:
    """Floating point operations to train on `tokens` tokens in documents of `max_seq_length`.

    Of the frozen matrices, 2 for each weight and token forward and 2 for the gradient of the input: 4N, as nothing is computed
    for the weight itself (Thinking Machines, "LoRA Without Regret", 2025; NVIDIA's NeMo table of LoRA speeds agrees with 4N
    within 5 %). Of the adapter 6, as of any trained matrix (Kaplan et al., arXiv 2001.08361). Causal attention: 2 forward and 4
    backward for each layer, head dimension and position (half of the full square). Checkpointing computes the blocks again.
    """
    shape = model.shape
    blocks = shape.num_layers * _block_weights(shape)
    attention = shape.num_layers * shape.num_heads * shape.head_dim * max_seq_length
    trained = lora_parameters(shape, lora_r)
    per_token = 4 * (blocks + shape.vocab_size * shape.hidden_size) + 6 * trained + 6 * attention
    if gradient_checkpointing:
        per_token += 2 * (blocks + trained + attention)
    return float(tokens * per_token)


def _weight_bytes(model: BaseModel, element_bytes: int, quantization: str) -> int:
    if quantization == "none":
        return model.num_parameters * element_bytes
    quantized = min(model.num_parameters, model.shape.num_layers * _block_weights(model.shape))
    return int(quantized * QUANTIZED_BYTES[quantization]) + (model.num_parameters - quantized) * element_bytes


def _block_weights(shape: Shape) -> int:
    return sum(inputs * outputs for inputs, outputs in block_matrices(shape))


def _saved_bytes_per_token(shape: Shape, lora_r: int, element_bytes: int) -> int:
    """What autograd keeps of one token in one block, counted through transformers' Llama block with peft's LoRA layers.

    The method is that of Korthikanti et al., arXiv 2205.05198, section 4; dropout is not used.
    """
    hidden, inner = shape.hidden_size, shape.intermediate_size
    queries, keys = shape.num_heads * shape.head_dim, shape.num_kv_heads * shape.head_dim
    norms = 2 * hidden * (4 + element_bytes)  # inputs in float32, outputs
    attention = (2 * (queries + 2 * keys) + queries) * element_bytes  # q, k, v before and after rotation; the output
    mlp = (4 if shape.mlp_matrices == 3 else 2) * inner * element_bytes  # gate, up, act(gate), product; or up, act(up)
    adapter_inputs = 4 * (hidden + queries + hidden + inner)  # peft casts each adapter's input to float32
    adapter_inner = 4 * lora_r * len(block_matrices(shape))
    return norms + attention + mlp + adapter_inputs + adapter_inner
