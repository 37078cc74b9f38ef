"""The sizes of a decoder's matrices, read from a config.json in any of the usual spellings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..disk.json_file import shown
from ..message import say
from .weights import refused

# Architectures whose feed-forward part is up and down projection only (transformers' modeling files); the
# others are gated.
PLAIN_MLP = (
    "gpt2",
    "gpt_neo",
    "gpt_neox",
    "gpt_bigcode",
    "gptj",
    "opt",
    "bloom",
    "falcon",
    "mpt",
    "phi",
    "starcoder2",
)
# Those whose output matrix is the embedding when config.json does not say so (defaults of their config
# classes).
TIED_TYPES = (
    "gpt2",
    "gpt_neo",
    "gpt_bigcode",
    "gemma",
    "gemma2",
    "gemma3",
    "gemma3_text",
    "opt",
    "bloom",
    "falcon",
    "cohere",
)
# What else a block holds, by architecture (transformers 5.23's modeling files).
JOINED_MLP = ("phi3", "glm", "glm4")
FOUR_NORMS = ("gemma2", "gemma3", "gemma3_text", "glm4", "olmo2", "olmo3", "exaone4")
SCALED_LOGITS = ("granite", "cohere", "cohere2", "gemma2")
QUERY_KEY_NORMS = (
    "qwen3",
    "qwen3_moe",
    "gemma3",
    "gemma3_text",
    "olmo2",
    "olmo3",
    "exaone4",
    "hunyuan_v1_dense",
    "apertus",
)
# What multimodal Gemma 3 leaves out of its config.json (defaults of Gemma3TextConfig).
GEMMA3_DEFAULTS = {"num_attention_heads": 8, "num_key_value_heads": 4, "head_dim": 256, "vocab_size": 262_208}


@dataclass(frozen=True, kw_only=True)
class ModelShape:
    """The sizes of a decoder's matrices."""

    hidden_size: int
    num_layers: int
    num_heads: int
    num_kv_heads: int
    head_dim: int
    intermediate_size: int
    vocab_size: int
    tied_embeddings: bool  # the output matrix is the embedding matrix
    mlp_matrices: int  # 3: gated (SwiGLU, GeGLU), 2: plain
    joined_mlp: bool  # gate and up are one matrix
    num_norms: int  # of a block's hidden states: 2, or 4 where what a part adds is normed
    query_key_norms: bool  # queries and keys are normed before attention
    scaled_logits: bool  # what the head gives is scaled or bent, so that all logits are there at once


def estimate_parameters(shape: ModelShape) -> int:
    """Count weights from the shape alone: matrices and norms, without biases and position tables (all below 1
    %).
    """
    embeddings = shape.vocab_size * shape.hidden_size * (1 if shape.tied_embeddings else 2)
    return embeddings + shape.num_layers * (
        sum(d_in * d_out for d_in, d_out in block_matrices(shape)) + 2 * shape.hidden_size
    )


def block_matrices(shape: ModelShape) -> tuple[tuple[int, int], ...]:
    """Return (inputs, outputs) of each linear layer of one block: q, k, v, o, then the MLP."""
    hidden, queries, keys = (
        shape.hidden_size,
        shape.num_heads * shape.head_dim,
        shape.num_kv_heads * shape.head_dim,
    )
    attention = ((hidden, queries), (hidden, keys), (hidden, keys), (queries, hidden))
    up = ((hidden, shape.intermediate_size),) * (shape.mlp_matrices - 1)
    return (*attention, *up, (shape.intermediate_size, hidden))


def read_shape(config: Mapping[str, Any], *, source: str) -> ModelShape:
    """Read the sizes from a config.json in any of the usual spellings. Raises `ModelError`."""
    text = _text_config(config)
    model_type = str(text.get("model_type") or config.get("model_type"))
    if model_type.startswith("gemma3"):
        text = {**GEMMA3_DEFAULTS, **text}

    def size(*names: str, default: int | None = None) -> int:
        value = next((text[name] for name in names if text.get(name) is not None), default)
        if not isinstance(value, int) or isinstance(value, bool) or not 0 < value < 2**31:
            seen = say('{source}: "{name}" is {value}', source=source, name=names[0], value=shown(value))
            raise refused(say("The size of this model cannot be read from its configuration."), seen)
        return value

    hidden, heads = size("hidden_size", "n_embd", "d_model"), size("num_attention_heads", "n_head", "n_heads")
    tied = text.get("tie_word_embeddings", config.get("tie_word_embeddings"))
    return ModelShape(
        hidden_size=hidden,
        num_layers=size("num_hidden_layers", "n_layer", "n_layers", "num_layers"),
        num_heads=heads,
        num_kv_heads=size("num_key_value_heads", "num_kv_heads", default=heads),
        head_dim=size("head_dim", default=hidden // heads),
        intermediate_size=size("intermediate_size", "n_inner", "ffn_dim", default=4 * hidden),
        vocab_size=size("vocab_size"),
        tied_embeddings=model_type in TIED_TYPES if tied is None else bool(tied),
        mlp_matrices=2 if model_type in PLAIN_MLP else 3,
        joined_mlp=model_type in JOINED_MLP,
        num_norms=4 if model_type in FOUR_NORMS else 2,
        query_key_norms=model_type in QUERY_KEY_NORMS,
        scaled_logits=model_type in SCALED_LOGITS,
    )


def read_context(config: Mapping[str, Any]) -> int:
    """Return how many tokens the model was made for; 2,048 where nothing is said, which every current model
    reaches.
    """
    text = _text_config(config)
    found = (text.get(name) for name in ("max_position_embeddings", "n_positions", "n_ctx", "seq_length"))
    return next((value for value in found if isinstance(value, int) and value > 0), 2048)


def _text_config(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the language part of a multimodal model's config."""
    nested = config.get("text_config")
    return nested if isinstance(nested, dict) else config
