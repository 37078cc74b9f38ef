"""Bytes and floating point operations of LoRA training, by arithmetic alone.

Counted is what our engine keeps and uses (docs/engine.md), tensor by tensor; the method is that of
Korthikanti et al., arXiv 2205.05198, section 4. benchmarks/memory.py measures how near it comes. "Assumed"
means not measured by us yet.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ..base_models.catalog import BaseModel
from ..base_models.shape import ModelShape, block_matrices
from ..engine.sizes import LOGITS_BYTES, MAX_ANSWERING_TOKENS, MAX_CACHE_BYTES, MIN_CACHE_BYTES
from ..machine.device_profile import DEVICE_PROFILES, DeviceProfile

DTYPE_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}
# Of the linear layers in the blocks; embeddings, output matrix and norms stay in the compute dtype
# (bitsandbytes' defaults). 8bit: one byte. 4bit: half a byte, and 0.127 bits for the scales of 64 weights
# each (double quantization, QLoRA, arXiv 2305.14314, section 3).
QUANTIZED_BYTES = {"8bit": 1.0, "4bit": 0.5 + 0.127 / 8}
# Of what is there before the first weight (`base_bytes` of a device), what is there while the weights are
# loaded.
LIBRARIES_BYTES = 370 * 2**20
# Share of what a step takes that a GPU's allocator cannot hand out again, since free pieces lie between used
# ones (assumed).
FRAGMENTED = 0.05
# The same on a processor, as a share of what comes and goes in the forward pass of all blocks: glibc never
# gives a freed piece to the next request for as many aligned bytes while its neighbours are in use (malloc.c,
# _int_memalign looks for 96 bytes more). Measured on the grid of docs/log.md, where it lay between 0.2 and
# 0.4.
LOST = 0.32
# where a step has several micro-batches, and holes of the first lie beside pieces of the next
LOST_ACCUMULATING = 0.55


@dataclass(frozen=True)
class MemoryEstimate:
    """What one training process needs on its device at the worst moment."""

    # weights; adapter: values, gradients and what is computed with; optimizer; activations: all that a step
    # keeps and uses on its way, at its worst moment, but logits; overhead: the program, and holes between
    # pieces in use; loading: what it takes more
    parts: Mapping[str, int]

    @property
    def total_bytes(self) -> int:
        """The sum of the parts."""
        return sum(self.parts.values())

    def answer_bytes(self, usable_bytes: int) -> int:
        """For keys and values of the answers that are made together while the model is measured: what is
        left, within bounds.

        Where that is a little more than there really is, fewer are made at once (generate.py).
        """
        stays = sum(self.parts[name] for name in ("weights", "adapter", "optimizer", "overhead"))
        return min(MAX_CACHE_BYTES, max(MIN_CACHE_BYTES, usable_bytes - stays))


@dataclass(frozen=True, kw_only=True)
class _StepSize:
    """A training step on `documents` examples of `length` tokens, all of them trained."""

    shape: ModelShape
    documents: int
    length: int
    lora_r: int
    element_bytes: int
    device: str

    @property
    def profile(self) -> DeviceProfile:
        return DEVICE_PROFILES[self.device]

    @property
    def tokens(self) -> int:
        return self.documents * self.length


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
    accumulates: bool = False,
) -> MemoryEstimate:
    """Add up the memory of training on micro-batches of `micro_batch_size` examples, each `max_seq_length`
    tokens long.

    `accumulates`: a step has several of them.

    `dtype`: float32, bfloat16 or float16, for the base weights and activations; `quantization`: none, 8bit or
    4bit; `device`: one of `DEVICES`. The adapter, its gradients and AdamW's two moments are float32, 4 bytes
    each (Kingma & Ba, 2015).
    """
    shape, element_bytes = model.shape, DTYPE_BYTES[dtype]
    step = _StepSize(
        shape=shape,
        documents=micro_batch_size,
        length=max_seq_length,
        lora_r=lora_r,
        element_bytes=element_bytes,
        device=device,
    )
    trained, logits = lora_parameters(shape, lora_r), _logits_bytes(step)
    worst = max(
        _forward_peak(step, gradient_checkpointing) + logits, _backward_peak(step, gradient_checkpointing)
    )
    if quantization != "none":
        # one is unpacked at a time
        worst += element_bytes * max(inputs * outputs for inputs, outputs in block_matrices(shape))
    parts = {
        "weights": _weight_bytes(model, element_bytes, quantization),
        "adapter": trained * (4 + 4) + _copied_adapter(step),
        "optimizer": trained * (4 + 4),
        "activations": worst - logits,
        "logits": logits,
    }
    taken = sum(parts.values()) - parts["weights"]
    lost = (
        (LOST_ACCUMULATING if accumulates else LOST) * shape.num_layers * _passing_forward(step)
        if device == "cpu"
        else FRAGMENTED * taken
    )
    parts["overhead"] = DEVICE_PROFILES[device].base_bytes + int(lost)
    parts["loading"] = max(
        0, _loading_bytes(model, dtype, quantization, device) + parts["weights"] - sum(parts.values())
    )
    return MemoryEstimate(parts)


def lora_parameters(shape: ModelShape, lora_r: int) -> int:
    """Trained numbers with an adapter on all linear layers of the blocks: A (r, inputs) and B (outputs, r)
    for each.

    Source: Hu et al., LoRA, arXiv 2106.09685, section 4.1. Models that join q, k and v (or gate and up) in
    one matrix share its A, so that they train somewhat fewer.
    """
    return shape.num_layers * sum(lora_r * (inputs + outputs) for inputs, outputs in block_matrices(shape))


def step_flops(
    model: BaseModel,
    tokens: int,
    lora_r: int,
    *,
    gradient_checkpointing: bool = False,
    max_seq_length: int = 512,
) -> float:
    """Floating point operations to train on `tokens` tokens in documents of `max_seq_length`.

    Of the frozen matrices, 2 for each weight and token forward and 2 for the gradient of the input: 4N, as
    nothing is computed for the weight itself (Thinking Machines, "LoRA Without Regret", 2025; NVIDIA's NeMo
    table of LoRA speeds agrees with 4N within 5 %). Of the adapter 6, as of any trained matrix (Kaplan et
    al., arXiv 2001.08361). Causal attention: 2 forward and 4 backward for each layer, head dimension and
    position (half of the full square). Checkpointing computes the blocks again.
    """
    shape = model.shape
    blocks = shape.num_layers * _block_weights(shape)
    attention = shape.num_layers * shape.num_heads * shape.head_dim * max_seq_length
    trained = lora_parameters(shape, lora_r)
    per_token = 4 * (blocks + shape.vocab_size * shape.hidden_size) + 6 * trained + 6 * attention
    if gradient_checkpointing:
        per_token += 2 * (blocks + trained + attention)
    return float(tokens * per_token)


def answer_tokens(shape: ModelShape, element_bytes: int, answer_bytes: int) -> int:
    """Return tokens of questions and answers that are in memory at once while a model is measured."""
    return min(
        MAX_ANSWERING_TOKENS,
        answer_bytes // (2 * shape.num_layers * shape.num_kv_heads * shape.head_dim * element_bytes),
    )


def _weight_bytes(model: BaseModel, element_bytes: int, quantization: str) -> int:
    if quantization == "none":
        return model.num_parameters * element_bytes
    quantized = min(model.num_parameters, model.shape.num_layers * _block_weights(model.shape))
    return int(quantized * QUANTIZED_BYTES[quantization]) + (model.num_parameters - quantized) * element_bytes


def _block_weights(shape: ModelShape) -> int:
    return sum(inputs * outputs for inputs, outputs in block_matrices(shape))


def _loading_bytes(model: BaseModel, dtype: str, quantization: str, device: str) -> int:
    """Return what is there beside the finished weights before training begins, at its worst; on a processor,
    others are not measured.

    On a processor weights in the file's own number format are the file itself, mapped into memory: nothing is
    there twice. Others are copied, and the file's pages are let go once all are. Afterwards the largest
    matrix is copied to take the fingerprint of the base (`model.base_fingerprint`).
    """
    if device != "cpu":
        return 0
    stored = model.stored_bytes or 2 * model.num_parameters
    is_mapped = quantization == "none" and round(stored / model.num_parameters) == DTYPE_BYTES[dtype]
    largest = DTYPE_BYTES[dtype] * model.shape.vocab_size * model.shape.hidden_size
    return LIBRARIES_BYTES + (largest if is_mapped else max(largest, stored))


def _copied_adapter(step: _StepSize) -> int:
    """Return the adapter as a step computes with it: in the model's number format; A's of layers that read
    the same are joined.
    """
    if step.element_bytes < 4:
        return lora_parameters(step.shape, step.lora_r) * step.element_bytes
    joined = len(block_matrices(step.shape)) - 2  # all but the attention's output and the MLP's
    return step.shape.num_layers * joined * step.lora_r * step.shape.hidden_size * 4


# What a step keeps


def _kept_by_block(step: _StepSize) -> int:
    """Return what the backward pass of one block needs: norms' inputs, queries, keys, values, what attention
    made of them, the MLP's two wide products, and what the adapters' A's made of their inputs.
    """
    shape, tokens = step.shape, step.tokens
    queries, keys = shape.num_heads * shape.head_dim, shape.num_kv_heads * shape.head_dim
    numbers = shape.num_norms * shape.hidden_size + 2 * queries + 2 * keys + _kept_by_mlp(shape)
    numbers += len(block_matrices(shape)) * step.lora_r
    singles = shape.num_norms  # in float32: a norm's 1 / rms
    if shape.joined_mlp:
        # in Phi-3 values are a part of one product with queries and keys, and hold it
        numbers += queries + keys
    if shape.query_key_norms:
        numbers, singles = numbers + queries + keys, singles + shape.num_heads + shape.num_kv_heads
    if step.profile.has_fused_attention:
        singles += shape.num_heads  # the logarithm of the softmax's sum
    return tokens * (numbers * step.element_bytes + singles * 4) + _kept_softmax(step)


def _kept_by_mlp(shape: ModelShape) -> int:
    """Numbers for each token."""
    if _mlp_is_ours(shape):
        return 2 * shape.intermediate_size  # gate and up
    if shape.joined_mlp:
        return 4 * shape.intermediate_size  # act(gate) and the product too
    # GPT-2's up, three steps of its GELU and act(up), and what two LayerNorms made; others' functions keep
    # less.
    return 5 * shape.intermediate_size + 2 * shape.hidden_size


def _mlp_is_ours(shape: ModelShape) -> bool:
    return shape.mlp_matrices == 3 and not shape.joined_mlp


def _kept_softmax(step: _StepSize) -> int:
    """Return the softmax kept of short documents: for each block of queries, all keys up to its end."""
    if step.length > step.profile.kept_softmax_tokens:
        return 0
    rows = step.profile.block_rows
    ends = range(rows, step.length + rows, rows)
    first, pairs = 0, 0
    for end in ends:
        last = min(end, step.length)
        first, pairs = last, pairs + (last - first) * last
    return step.documents * step.shape.num_heads * pairs * step.element_bytes


# The two moments at which most is there


def _forward_peak(step: _StepSize, checkpointing: bool) -> int:
    """Return all that is kept when the logits are there: the blocks', and for the head its input, its norm's,
    and their gradient.
    """
    rows = step.tokens * step.shape.hidden_size * step.element_bytes
    return _kept_by_blocks(step, step.shape.num_layers, checkpointing) + 3 * rows


def _backward_peak(step: _StepSize, checkpointing: bool) -> int:
    """Return the last block that is whole goes backward (of the very last only the trained tokens are there):
    what is kept of it and of those before, and the gradients that come and go.
    """
    kept = _kept_by_blocks(step, step.shape.num_layers - 1, checkpointing)
    if checkpointing:
        kept += _kept_by_block(step)  # computed again
    return kept + max(_attention_backward(step), _mlp_backward(step))


def _kept_by_blocks(step: _StepSize, count: int, checkpointing: bool) -> int:
    """Return what the first `count` blocks keep."""
    if not checkpointing:
        return count * _kept_by_block(step)
    # Each keeps its input alone (Chen et al., arXiv 1604.06174). The very last block is not computed twice
    # (engine/last.py).
    shape = step.shape
    last = _kept_by_block(step) if count == shape.num_layers else 0
    return min(count, shape.num_layers - 1) * step.tokens * shape.hidden_size * step.element_bytes + last


def _passing_forward(step: _StepSize) -> int:
    """Return what comes and goes in the forward pass of one block, each piece counted once."""
    shape = step.shape
    queries, keys = shape.num_heads * shape.head_dim, shape.num_kv_heads * shape.head_dim
    # outputs of two norms, of attention and MLP; queries and keys before and on the way through their
    # rotation (transformers' apply_rotary_pos_emb); queries, keys, values and result by document and head;
    # act(gate)
    numbers = 4 * shape.hidden_size + 7.5 * queries + 6.5 * keys + shape.intermediate_size
    # in float32: within the norms; queries and keys for the scores
    exact = queries if step.element_bytes == 4 else 2 * shape.hidden_size + 2 * queries + keys
    if shape.query_key_norms:
        numbers += queries + keys
        exact += 0 if step.element_bytes == 4 else queries + keys
    return int(step.tokens * (numbers * step.element_bytes + exact * 4))


def _mlp_backward(step: _StepSize) -> int:
    """act(gate), the product and its gradient, or the three that take their places; the residual's gradient,
    the input made again and its gradient.
    """
    return step.tokens * (3 * step.shape.intermediate_size + 4 * step.shape.hidden_size) * step.element_bytes


def _attention_backward(step: _StepSize) -> int:
    """Return gradients of queries, keys, values and of what attention made of them; all of these once more by
    document and head, the queries and keys among them in float32; and a block of scores.
    """
    shape, tokens = step.shape, step.tokens
    queries, keys = shape.num_heads * shape.head_dim, shape.num_kv_heads * shape.head_dim
    rows = tokens * 4 * shape.hidden_size * step.element_bytes
    if step.profile.has_fused_attention:
        # and the queries' sum in float32
        return rows + tokens * ((2 * queries + 2 * keys) * step.element_bytes + 4 * queries)
    numbers = 5 * queries + 6 * keys
    block = step.documents * shape.num_heads * min(step.profile.block_rows, step.length) * step.length
    is_kept = step.length <= step.profile.kept_softmax_tokens
    # chances, their gradient and that of the scores; where chances are made anew, scores and softmax in
    # float32 before
    scores = block * (
        2 * step.element_bytes if is_kept else max(4 + 4 + step.element_bytes, 3 * step.element_bytes)
    )
    return rows + tokens * (numbers * step.element_bytes + 4 * (queries + keys)) + scores


def _logits_bytes(step: _StepSize) -> int:
    """Return a chunk of logits and a piece of their softmax in float32 (engine/loss.py); of a model that
    changes its logits, all.
    """
    words = step.shape.vocab_size
    if step.shape.scaled_logits:
        # as they come, changed, those of trained tokens; in float32 these once more, their log-softmax and
        # its gradient
        return step.tokens * words * (3 * step.element_bytes + 3 * 4)
    rows = min(step.tokens, max(1, LOGITS_BYTES // (step.element_bytes * words)))
    at_once = min(rows, max(1, step.profile.softmax_bytes // (4 * words)))
    return rows * words * step.element_bytes + at_once * words * 4
