"""Base models as data: the known ones (catalog.toml), the demo model in the package, and any model in a local folder.

`describe_folder` reads a model's files as plain data, through the gate: it refuses what would run code from the model's
repository, unpickle its weights, or read files outside its folder. No torch, no transformers.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import tomlkit

from ..disk.json_file import read_object, shown
from ..errors import ModelError
from ..message import Message, say
from .gate import check_config, check_folder, check_layers, check_size, check_tokenizer
from .weights import count_parameters, read_header, weight_files

CATALOG = Path(__file__).parent / "catalog.toml"
DEMO_FOLDER = Path(__file__).parents[1] / "demo" / "model"

TOKENIZERS = (("tokenizer.json",), ("tokenizer.model",), ("vocab.json", "merges.txt"), ("tokenizer_config.json",))

# Architectures whose feed-forward part is up and down projection only (transformers' modeling files); the others are gated.
PLAIN_MLP = ("gpt2", "gpt_neo", "gpt_neox", "gpt_bigcode", "gptj", "opt", "bloom", "falcon", "mpt", "phi", "starcoder2")
# Those whose output matrix is the embedding when config.json does not say so (defaults of their config classes).
TIED_TYPES = ("gpt2", "gpt_neo", "gpt_bigcode", "gemma", "gemma2", "gemma3", "gemma3_text", "opt", "bloom", "falcon", "cohere")
# What else a block holds, by architecture (transformers 5.23's modeling files).
JOINED_MLP = ("phi3", "glm", "glm4")
FOUR_NORMS = ("gemma2", "gemma3", "gemma3_text", "glm4", "olmo2", "olmo3", "exaone4")
SCALED_LOGITS = ("granite", "cohere", "cohere2", "gemma2")
QUERY_KEY_NORMS = ("qwen3", "qwen3_moe", "gemma3", "gemma3_text", "olmo2", "olmo3", "exaone4", "hunyuan_v1_dense", "apertus")
# What multimodal Gemma 3 leaves out of its config.json (defaults of Gemma3TextConfig).
GEMMA3_DEFAULTS = {"num_attention_heads": 8, "num_key_value_heads": 4, "head_dim": 256, "vocab_size": 262_208}


@dataclass(frozen=True, kw_only=True)
class Shape:
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


@dataclass(frozen=True, kw_only=True)
class BaseModel:
    """A model to fine-tune, before it is loaded."""

    id: str  # what the user types: "demo", "owner/name", or a folder
    folder: Path | None  # where its files lie; None: to be downloaded
    num_parameters: int
    shape: Shape
    languages: tuple[str, ...]  # ISO 639-1, of those it is known to handle; empty: not known
    licence: str  # SPDX name or the hub's; "unknown" for a local folder
    gated: bool  # the hub gives it only to people who have accepted its terms
    context_tokens: int
    has_chat_template: bool
    download_bytes: int  # 0 when folder is set
    quality: int  # order for MODEL=auto within what fits; higher is better, 0: never chosen by auto
    stored_bytes: int = 0  # of the weight files; 0: not known, usually 2 for each weight
    revision: str | None = None  # what to download instead of the hub's main branch
    max_steps: int | None = None  # the model's own best defaults
    batch_size: int | None = None
    learning_rate: float | None = None


@lru_cache(maxsize=1)
def load_catalog() -> tuple[BaseModel, ...]:
    """The known models, in the order of catalog.toml. Unknown or missing keys are a `TypeError`: our data is wrong then."""
    return tuple(_entry(raw) for raw in _catalog()["model"])


def demo_model() -> BaseModel:
    """The model inside the package, which needs no network; its training defaults stand in catalog.toml under [demo]."""
    demo = dict(_catalog()["demo"])
    languages = tuple(demo.pop("languages"))
    return replace(describe_folder(DEMO_FOLDER), id="demo", languages=languages, **demo)


def describe_folder(folder: Path) -> BaseModel:
    """Read what a local model is from its files, none of which is executed.

    Raises `ModelError` when it is not a model, is damaged, or could not be loaded without running its own code.
    """
    config = _read_config(folder)
    tokenizer = _read_tokenizer_config(folder)
    files = weight_files(folder)
    headers = [read_header(path) for path in files]
    source = str(folder / "config.json")
    shape = read_shape(config, source=source)
    num_parameters = count_parameters(headers, tied=shape.tied_embeddings)
    check_layers(shape.num_layers, headers, source=source)
    check_size(estimate_parameters(shape), num_parameters, source=source)
    return BaseModel(
        id=str(folder),
        folder=folder,
        num_parameters=num_parameters,
        shape=shape,
        languages=(),
        licence="unknown",
        gated=False,
        context_tokens=read_context(config),
        has_chat_template=(folder / "chat_template.jinja").is_file() or bool(tokenizer.get("chat_template")),
        download_bytes=0,
        quality=0,
        stored_bytes=sum(path.stat().st_size for path in files),
    )


def estimate_parameters(shape: Shape) -> int:
    """Count weights from the shape alone: matrices and norms, without biases and position tables (all below 1 %)."""
    embeddings = shape.vocab_size * shape.hidden_size * (1 if shape.tied_embeddings else 2)
    return embeddings + shape.num_layers * (sum(d_in * d_out for d_in, d_out in block_matrices(shape)) + 2 * shape.hidden_size)


def block_matrices(shape: Shape) -> tuple[tuple[int, int], ...]:
    """(inputs, outputs) of each linear layer of one block: q, k, v, o, then the MLP."""
    hidden, queries, keys = shape.hidden_size, shape.num_heads * shape.head_dim, shape.num_kv_heads * shape.head_dim
    attention = ((hidden, queries), (hidden, keys), (hidden, keys), (queries, hidden))
    up = ((hidden, shape.intermediate_size),) * (shape.mlp_matrices - 1)
    return (*attention, *up, (shape.intermediate_size, hidden))


# Sizes


def read_shape(config: Mapping[str, Any], *, source: str) -> Shape:
    """Read the sizes from a config.json in any of the usual spellings. Raises `ModelError`."""
    text = _text_config(config)
    model_type = str(text.get("model_type") or config.get("model_type"))
    if model_type.startswith("gemma3"):
        text = {**GEMMA3_DEFAULTS, **text}

    def size(*names: str, default: int | None = None) -> int:
        value = next((text[name] for name in names if text.get(name) is not None), default)
        if not isinstance(value, int) or isinstance(value, bool) or not 0 < value < 2**31:
            seen = say('{source}: "{name}" is {value}', source=source, name=names[0], value=shown(value))
            raise _refused(say("The sizes of this model cannot be read from its configuration."), seen)
        return value

    hidden, heads = size("hidden_size", "n_embd", "d_model"), size("num_attention_heads", "n_head", "n_heads")
    tied = text.get("tie_word_embeddings", config.get("tie_word_embeddings"))
    return Shape(
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
    """How many tokens the model was made for; 2,048 where nothing is said, which every current model reaches."""
    text = _text_config(config)
    found = (text.get(name) for name in ("max_position_embeddings", "n_positions", "n_ctx", "seq_length"))
    return next((value for value in found if isinstance(value, int) and value > 0), 2048)


# Reading files


def _read_config(folder: Path) -> dict[str, Any]:
    if not folder.is_dir():
        raise ModelError(
            say("There is no model folder {folder}", folder=str(folder)),
            seen=say("It is a file.") if folder.exists() else None,
            fix=say('Give the folder that holds config.json, a name like "Qwen/Qwen3-0.6B", or demo.'),
        )
    if (folder / "adapter_config.json").is_file():
        raise _is_adapter(folder)
    if not (folder / "config.json").is_file():
        raise ModelError(
            say("This folder holds no model: config.json is missing."),
            seen=say("{folder}", folder=str(folder)),
            fix=say('Give the folder that holds config.json, a name like "Qwen/Qwen3-0.6B", or demo.'),
        )
    check_folder(folder)
    return check_config(read_object(folder / "config.json"), source=str(folder / "config.json"))


def _read_tokenizer_config(folder: Path) -> dict[str, Any]:
    if not has_tokenizer(path.name for path in folder.iterdir()):
        raise _refused(
            say("This model has no tokenizer, which turns text into numbers."),
            say("{folder} has none of tokenizer.json, tokenizer.model, vocab.json with merges.txt", folder=str(folder)),
        )
    return check_tokenizer(folder)


def has_tokenizer(names: Iterator[str]) -> bool:
    """Whether these files of a model hold a tokenizer."""
    present = set(names)
    return any(present.issuperset(needed) for needed in TOKENIZERS)


def _is_adapter(folder: Path) -> ModelError:
    # With an adapter in its folder, transformers would load that too, or another base model that the adapter names.
    base = read_object(folder / "adapter_config.json").get("base_model_name_or_path")
    known = isinstance(base, str) and base.isprintable()
    return ModelError(
        say("This is an adapter, not a base model."),
        seen=say("{file}", file=str(folder / "adapter_config.json")),
        fix=say("Give its base model: MODEL={base}", base=shlex.quote(str(base))) if known else say("Give its base model."),
    )


def _entry(raw: Mapping[str, Any]) -> BaseModel:
    fields = {**raw, "shape": Shape(**raw["shape"]), "languages": tuple(raw["languages"])}
    return BaseModel(folder=None, **fields)


@lru_cache(maxsize=1)
def _catalog() -> dict[str, Any]:
    return tomlkit.parse(CATALOG.read_text(encoding="utf-8")).unwrap()


def _text_config(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """The language part of a multimodal model's config."""
    nested = config.get("text_config")
    return nested if isinstance(nested, dict) else config


def _refused(what: Message, seen: Message) -> ModelError:
    return ModelError(what, seen=seen, fix=say("Choose another model, for example MODEL=demo"))
