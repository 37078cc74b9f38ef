"""What differs by kind of device, a row for each; no torch here, so that planning is instant.

To add a device: a row here, and how the machine is asked for it in `probe` and `hardware`.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..message import Message, say

MIB = 2**20


@dataclass(frozen=True, kw_only=True)
class DeviceProfile:
    """One kind of device. What a number rests on stands beside it; "assumed" means not measured by us yet."""

    title: Message
    can_quantize: bool  # bitsandbytes runs well there
    has_fused_attention: bool  # which keeps the logarithm of the softmax's sum instead of scores

    # The engine

    # Rows of queries that go through together. Measured on two cores (docs/log.md): 64 and 128 alike, 256 a
    # fifth to a half slower, since a block's scores no longer fit the cache and more of them are above the
    # diagonal. On a GPU few large products win (assumed).
    block_rows: int
    # The softmax of documents up to this length is kept for the backward pass, two bytes for each pair of
    # tokens and head, for a seventh of the attention's time (docs/log.md). Longer ones compute it again.
    kept_softmax_tokens: int
    # Of float32 softmax at once: on a processor it stays in the cache, and no float32 copy of a chunk of
    # logits is ever there.
    softmax_bytes: int
    # Share of a micro-batch's tokens that a shared prefix must save. On a CUDA GPU documents with one leave
    # the fused attention kernel, which costs more than a short prefix brings (assumed).
    min_saved_share: float
    num_ahead: int  # steps whose loss may wait to be read, so that the device's queue never runs dry

    # Memory

    # What is there before the first weight, on the device. A processor: the interpreter with its libraries
    # (346 MiB with torch 2.13 on Linux), the tokenizer, kernels made for products of each shape (measured
    # together, docs/log.md). A GPU: the driver's context and the workspaces of matrix products (assumed).
    base_bytes: int
    # of a micro-batch: a larger one no longer runs faster: the products already fill the processor
    enough_tokens: int

    # Time: what the device makes of the measured rate, and what it needs besides. Of the CPU: fitted to the
    # demo model, the 135M shape and Qwen3-0.6B on two machines (docs/log.md), with a core of about 1e11
    # FLOP/s in float32; on one that is slower, what is no product is taken to be slower by as much. Of GPUs,
    # assumed: half of the product rate (NeMo's published LoRA of an 8B model: 402 of about 700 TFLOP/s, on an
    # H100), and launches of about 10 microseconds.

    # Rate of matrix products where none was measured, FLOP/s: of one CPU core (AVX2 in float32, a common
    # laptop), of the GPU of a base Apple M chip and of a small NVIDIA card without tensor cores in use
    # (datasheets: 2.6 and 4.4 TFLOP/s). Assumed.
    usual_flops_per_second: float
    product_share: float  # of the measured rate that the products of a training step reach
    attention_cost: float  # times its operations: narrow products, and a softmax of as many numbers
    # for each token, layer and unit of width: norms, activations, softmax; more cores hardly help
    width_seconds: float
    layer_seconds: float  # for each layer and micro-batch, however few tokens it has: calls, launches
    answer_share: float  # of the rate of products that a token of many answers reaches in float32
    half_answer_share: float  # the same in bfloat16 or float16
    answer_layer_seconds: float  # for each layer and such token: calls, launches
    start_seconds: float  # importing the libraries, reading the data, writing the report
    # How fast weights are read from memory, which is what each token of an answer of a large model waits for:
    # of one CPU core (no run of ours waited for it), of a common card (an RTX 3060 has 360 GB/s, an H200
    # 4,800); None: it grows with the rate of products. Assumed.
    read_bytes_per_second: float | None


DEVICE_PROFILES = {
    "cuda": DeviceProfile(
        title=say("NVIDIA GPU"),
        can_quantize=True,
        has_fused_attention=True,
        block_rows=512,
        kept_softmax_tokens=0,
        softmax_bytes=64 * MIB,
        min_saved_share=0.3,
        num_ahead=1,
        base_bytes=1024 * MIB,
        enough_tokens=16384,
        usual_flops_per_second=4e12,
        product_share=0.5,
        attention_cost=1.0,
        width_seconds=0.0,
        layer_seconds=2e-3,
        answer_share=0.5,
        half_answer_share=0.5,
        answer_layer_seconds=1e-3,
        start_seconds=15.0,
        read_bytes_per_second=4e11,
    ),
    "mps": DeviceProfile(
        title=say("Apple GPU"),
        can_quantize=False,
        has_fused_attention=False,
        block_rows=512,
        kept_softmax_tokens=256,
        softmax_bytes=64 * MIB,
        min_saved_share=0.03,
        num_ahead=1,
        base_bytes=768 * MIB,
        enough_tokens=4096,
        usual_flops_per_second=2e12,
        product_share=0.5,
        attention_cost=1.0,
        width_seconds=0.0,
        layer_seconds=3e-3,
        answer_share=0.5,
        half_answer_share=0.5,
        answer_layer_seconds=1.2e-3,
        start_seconds=15.0,
        read_bytes_per_second=None,
    ),
    "cpu": DeviceProfile(
        title=say("processor (no GPU found)"),
        can_quantize=False,
        has_fused_attention=False,
        block_rows=128,
        kept_softmax_tokens=256,
        softmax_bytes=4 * MIB,
        min_saved_share=0.03,
        num_ahead=0,
        base_bytes=425 * MIB,
        enough_tokens=2048,
        usual_flops_per_second=6e10,
        product_share=1.0,
        attention_cost=2.5,
        width_seconds=4.5e-8,
        layer_seconds=3e-3,
        answer_share=0.35,
        half_answer_share=0.32,
        answer_layer_seconds=1.3e-3,
        start_seconds=6.0,
        read_bytes_per_second=5e9,
    ),
}
DEVICES = tuple(DEVICE_PROFILES)
