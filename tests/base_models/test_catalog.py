"""The catalogue's own data, and the gate that a model folder must pass before anything is loaded from it."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import tomlkit

from nuguna.base_models import catalog
from nuguna.base_models.catalog import BaseModel, describe_folder, load_catalog
from nuguna.base_models.gate import check_config
from nuguna.base_models.shape import ModelShape, block_matrices, estimate_parameters, read_context, read_shape
from nuguna.errors import ModelError

LLAMA = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": 8,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "intermediate_size": 16,
    "vocab_size": 32,
    "max_position_embeddings": 64,
    "tie_word_embeddings": False,
}
Tensors = dict[str, tuple[str, list[int]]]


def write_safetensors(path: Path, tensors: Tensors) -> None:
    """A valid file of zeros, by the format's own description."""
    sizes = {"F32": 4, "BF16": 2, "F16": 2, "U8": 1, "I32": 4}
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, (dtype, shape) in tensors.items():
        begin, count = end, sizes[dtype]
        for size in shape:
            count *= size
        end += count
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + bytes(end))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a model folder that passes."""
    place = tmp_path / "tiny model"
    place.mkdir()
    (place / "config.json").write_text(json.dumps(LLAMA))
    (place / "tokenizer.json").write_text("{}")
    (place / "tokenizer_config.json").write_text(json.dumps({"chat_template": "{{ messages }}"}))
    write_safetensors(
        place / "model.safetensors", {"model.embed_tokens.weight": ("F32", [32, 8]), "lm_head.weight": ("F32", [32, 8])}
    )
    return place


def change(folder: Path, **keys: object) -> None:
    (folder / "config.json").write_text(json.dumps({**LLAMA, **keys}))


def refused(folder: Path) -> str:
    with pytest.raises(ModelError) as caught:
        describe_folder(folder)
    assert caught.value.exit_code == 2
    assert str(caught.value.fix)
    return str(caught.value)


# The data file


def test_every_entry_is_complete_and_has_no_unknown_key() -> None:
    document = tomlkit.parse(catalog.CATALOG.read_text(encoding="utf-8")).unwrap()
    assert set(document) == {"demo", "model"}
    known = {field.name for field in fields(BaseModel)} - {"checked"}
    optional = {"revision", "max_steps", "batch_size", "learning_rate", "stored_bytes"}
    for raw in document["model"]:
        assert known - optional <= set(raw) <= known, raw["id"]
        assert set(raw["shape"]) == {field.name for field in fields(ModelShape)}, raw["id"]
    with pytest.raises(TypeError, match="colour"):
        catalog._entry({**document["model"][0], "colour": "blue"})


def test_types_are_right_and_ids_are_unique() -> None:
    models = load_catalog()
    assert len({model.id.casefold() for model in models}) == len(models) >= 15
    for model in models:
        assert model.id.count("/") == 1 and model.folder is None
        assert all(type(getattr(model.shape, name)) is int for name in ("hidden_size", "num_layers", "mlp_matrices"))
        assert type(model.gated) is bool and type(model.has_chat_template) is bool and type(model.quality) is int
        assert all(len(language) == 2 for language in model.languages) and model.languages
        assert not (model.gated and model.quality), f"{model.id} needs an account, so it must not be chosen by itself"
        assert model.shape.mlp_matrices in (2, 3) and model.shape.num_heads % model.shape.num_kv_heads == 0


@pytest.mark.parametrize("model", load_catalog(), ids=lambda model: model.id)
def test_shape_adds_up_to_the_known_number_of_parameters(model: BaseModel) -> None:
    assert estimate_parameters(model.shape) == pytest.approx(model.num_parameters, rel=0.02)
    # Two bytes for each weight; a tied output matrix may be stored twice; the tokenizer comes on top.
    stored_twice = model.shape.vocab_size * model.shape.hidden_size if model.shape.tied_embeddings else 0
    assert 2 * model.num_parameters < model.download_bytes < 2 * (model.num_parameters + stored_twice) + 120e6


@pytest.mark.parametrize("model", load_catalog(), ids=lambda model: model.id)
def test_transformers_does_not_refuse_the_heads(model: BaseModel) -> None:
    # transformers 5 wants this of Llama and Granite, though head_dim makes it needless (pull request 46211
    # there).
    if model.shape.head_dim * model.shape.num_heads != model.shape.hidden_size and "Qwen3" not in model.id:
        assert model.shape.hidden_size % model.shape.num_heads == 0


def test_a_small_korean_model_with_a_free_licence_can_be_chosen() -> None:
    free = [m for m in load_catalog() if m.quality > 0 and "ko" in m.languages and m.licence in ("Apache-2.0", "MIT")]
    assert any(m.num_parameters < 1e9 for m in free) and any(m.num_parameters < 3e9 for m in free)


def test_demo_model_is_its_folder_with_the_defaults_of_the_catalogue(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalog, "DEMO_FOLDER", folder)
    demo = catalog.demo_model()
    assert (demo.id, demo.folder, demo.download_bytes, demo.gated) == ("demo", folder, 0, False)
    assert demo.max_steps and demo.batch_size and demo.learning_rate
    assert "ko" in demo.languages and demo.licence == "Apache-2.0"


# What is read from a folder


def test_describes_a_folder(folder: Path) -> None:
    model = describe_folder(folder)
    assert model.id == str(folder) and model.folder == folder
    assert model.num_parameters == 2 * 32 * 8
    assert model.context_tokens == 64 and model.has_chat_template and not model.gated and model.download_bytes == 0
    assert model.shape == ModelShape(
        hidden_size=8,
        num_layers=2,
        num_heads=2,
        num_kv_heads=1,
        head_dim=4,
        intermediate_size=16,
        vocab_size=32,
        tied_embeddings=False,
        mlp_matrices=3,
        joined_mlp=False,
        num_norms=2,
        query_key_norms=False,
        scaled_logits=False,
    )
    assert model.stored_bytes == (folder / "model.safetensors").stat().st_size


def test_chat_template_in_its_own_file(folder: Path) -> None:
    (folder / "tokenizer_config.json").write_text("{}")
    assert not describe_folder(folder).has_chat_template
    (folder / "chat_template.jinja").write_text("{{ messages }}")
    assert describe_folder(folder).has_chat_template


def test_counts_sharded_tied_and_quantized_weights(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    change(folder, tie_word_embeddings=True)
    write_safetensors(folder / "model-1.safetensors", {"embed.weight": ("BF16", [32, 8]), "lm_head.weight": ("BF16", [32, 8])})
    packed: Tensors = {
        "h.0.attn.bias": ("F16", [1, 1, 4, 4]),
        "h.0.attn.masked_bias": ("F16", []),
        "h.0.attn.c_attn.bias": ("F16", [24]),
        "h.0.mlp.weight": ("U8", [64, 1]),
        "h.0.mlp.weight.absmax": ("F32", [2]),
        "h.0.mlp.weight.quant_state.bitsandbytes__nf4": ("U8", [80]),
        "h.1.mlp.qweight": ("I32", [2, 8]),
        "h.1.mlp.scales": ("F16", [4]),
    }
    write_safetensors(folder / "model-2.safetensors", packed)
    weight_map = {"embed.weight": "model-1.safetensors", **dict.fromkeys(packed, "model-2.safetensors")}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    assert describe_folder(folder).num_parameters == 32 * 8 + 24 + 2 * 64 + 8 * 16


@pytest.mark.parametrize("kind", ["llama", "qwen2", "qwen3", "gpt2", "gpt_neox", "gemma3_text", "phi3", "granite"])
@pytest.mark.parametrize("tied", [True, False])
def test_agrees_with_what_transformers_writes_and_counts(tmp_path: Path, kind: str, tied: bool) -> None:
    from transformers import AutoConfig, AutoModelForCausalLM

    sizes = {"hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2, "vocab_size": 40, "pad_token_id": 0}
    more = {} if kind == "gpt2" else {"intermediate_size": 24}
    config = AutoConfig.for_model(kind, **sizes, **more, tie_word_embeddings=tied)
    model = AutoModelForCausalLM.from_config(config)
    model.save_pretrained(tmp_path)
    (tmp_path / "tokenizer.json").write_text("{}")
    found = describe_folder(tmp_path)
    assert found.num_parameters == model.num_parameters()
    assert found.shape.tied_embeddings == tied
    assert (found.shape.hidden_size, found.shape.num_layers, found.shape.vocab_size) == (8, 2, 40)
    matrices = [tuple(weight.shape) for name, weight in model.named_parameters() if weight.ndim == 2 and ".0." in name]
    expected = sum(d_in * d_out for d_in, d_out in block_matrices(found.shape))
    assert sum(rows * columns for rows, columns in matrices) == expected
    names = {name.split(".0.")[1].removesuffix(".weight") for name, _ in model.named_parameters() if ".0." in name}
    assert found.shape.query_key_norms == any(name.endswith("q_norm") for name in names)
    assert found.shape.joined_mlp == any(name.endswith("gate_up_proj") for name in names)
    norms = [name for name in names if "norm" in name.split(".")[0] or name.startswith("ln_")]
    assert found.shape.num_norms == len({name.removesuffix(".bias") for name in norms})


def test_shape_of_gpt2() -> None:
    config = {
        "model_type": "gpt2",
        "n_embd": 1024,
        "n_layer": 24,
        "n_head": 16,
        "n_inner": None,
        "vocab_size": 50257,
        "n_ctx": 1024,
    }
    shape = read_shape(config, source="here")
    assert (shape.intermediate_size, shape.mlp_matrices, shape.tied_embeddings, shape.head_dim) == (4096, 2, True, 64)
    assert shape == next(model.shape for model in load_catalog() if model.id == "microsoft/DialoGPT-medium")
    assert read_context(config) == 1024


def test_shape_of_gpt_neox_is_plain_and_untied() -> None:
    config = {**LLAMA, "model_type": "gpt_neox", "num_key_value_heads": None}
    del config["tie_word_embeddings"]
    shape = read_shape(config, source="here")
    assert (shape.mlp_matrices, shape.tied_embeddings, shape.num_kv_heads) == (2, False, 2)


def test_shape_of_multimodal_gemma3_fills_in_what_its_config_leaves_out() -> None:
    text = {"model_type": "gemma3_text", "hidden_size": 2560, "intermediate_size": 10240, "num_hidden_layers": 34}
    shape = read_shape({"model_type": "gemma3", "text_config": text, "vision_config": {"hidden_size": 1152}}, source="here")
    assert (shape.hidden_size, shape.num_heads, shape.num_kv_heads, shape.head_dim) == (2560, 8, 4, 256)
    assert shape.tied_embeddings and estimate_parameters(shape) == pytest.approx(3.88e9, rel=0.01)


def test_explicit_head_dim_wins() -> None:
    assert read_shape({**LLAMA, "head_dim": 128}, source="here").head_dim == 128


# What is refused


def test_missing_folder_and_file_instead_of_folder(tmp_path: Path) -> None:
    assert "There is no model folder" in refused(tmp_path / "nowhere")
    (tmp_path / "file").write_text("")
    assert "It is a file" in refused(tmp_path / "file")
    (tmp_path / "empty").mkdir()
    assert "config.json is missing" in refused(tmp_path / "empty")


@pytest.mark.parametrize(
    "content", [b"", b"not json", b"[1, 2]", b"\xff\xfe\x00", b"[" * 100_000, b'{"a": ' * 5000], ids=range(6)
)
def test_config_that_is_no_json_object(folder: Path, content: bytes) -> None:
    (folder / "config.json").write_bytes(content)
    assert "JSON" in refused(folder)


@pytest.mark.parametrize(
    "keys",
    [
        {"auto_map": {"AutoModelForCausalLM": "modeling_evil.Evil"}},
        {"custom_pipeline": "evil"},
        {"trust_remote_code": True},
        {"_attn_implementation_internal": "evil/kernel"},
        {"_attn_implementation": "evil/kernel"},
        {"text_config": {"nested": [{"auto_map": {}}]}},
        {"quantization_config": {"trust_remote_code": False}},
    ],
    ids=lambda keys: next(iter(keys)),
)
def test_code_of_the_model_is_refused(folder: Path, keys: dict[str, Any]) -> None:
    change(folder, **keys)
    assert "program code" in refused(folder)


def test_code_in_the_tokenizer_is_refused(folder: Path) -> None:
    (folder / "tokenizer_config.json").write_text(json.dumps({"auto_map": {"AutoTokenizer": ["tokenization_evil.Evil", None]}}))
    assert "program code" in refused(folder)


def test_ordinary_attention_choice_is_no_code() -> None:
    check_config({**LLAMA, "_attn_implementation": "sdpa", "_attn_implementation_autoset": True}, source="here")


@pytest.mark.parametrize("model_type", [None, "", "../evil", "Llama", "a" * 65, 7, ["llama"]])
def test_model_type_that_is_no_name(folder: Path, model_type: object) -> None:
    change(folder, model_type=model_type)
    assert "what kind of model" in refused(folder)


@pytest.mark.parametrize(
    "keys", [{"architectures": ["BertForMaskedLM"]}, {"architectures": ["LlamaModel"]}, {"is_encoder_decoder": True}], ids=str
)
def test_models_that_do_not_write_text(folder: Path, keys: dict[str, Any]) -> None:
    change(folder, **keys)
    assert "does not write text" in refused(folder)


@pytest.mark.parametrize("value", [None, 0, -8, "8", True, 2**40, 8.0])
def test_sizes_that_make_no_sense(folder: Path, value: object) -> None:
    change(folder, hidden_size=value)
    assert "size of this model" in refused(folder)


def test_pickled_weights_alone(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    message = refused(folder)
    assert "pytorch_model.bin" in message and "convert" in message


def test_no_weights_at_all(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    assert "no weights" in refused(folder)


def index(folder: Path, *names: str) -> None:
    (folder / "model.safetensors").rename(folder / "model-00001-of-00002.safetensors")
    document = {"weight_map": {f"layer.{number}": name for number, name in enumerate(names)}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(document))


@pytest.mark.parametrize(
    "name",
    ["../other.safetensors", "/etc/passwd", "C:\\x.safetensors", "..\\x.safetensors", "sub/x.safetensors", "..", "", "x.bin"],
)
def test_index_that_points_outside(folder: Path, name: str) -> None:
    index(folder, "model-00001-of-00002.safetensors", name)
    assert "in its own folder" in refused(folder)


def test_missing_shard_and_empty_index(folder: Path) -> None:
    index(folder, "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors")
    assert "1 of 2 files" in refused(folder)
    (folder / "model.safetensors.index.json").write_text('{"weight_map": []}')
    assert "empty" in refused(folder)


def cut(content: bytes) -> bytes:
    return content[:-1]


@pytest.mark.parametrize(
    "spoil",
    [
        cut,
        lambda content: b"",
        lambda content: b"\x01",
        lambda content: struct.pack("<Q", 2**62) + content[8:],
        lambda content: struct.pack("<Q", 4) + b"[{}]",
        lambda content: struct.pack("<Q", 14) + b'{"a": {"b": 1}',
        lambda content: struct.pack("<Q", 12) + b'{"a":"text"}',
    ],
    ids=range(7),
)
def test_damaged_weights(folder: Path, spoil: Callable[[bytes], bytes]) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(spoil(path.read_bytes()))
    assert "damaged" in refused(folder)


def test_no_tokenizer(folder: Path) -> None:
    (folder / "tokenizer.json").unlink()
    (folder / "tokenizer_config.json").unlink()
    assert "tokenizer" in refused(folder)
    (folder / "vocab.json").write_text("{}")
    refused(folder)
    (folder / "merges.txt").write_text("")
    assert not describe_folder(folder).has_chat_template


def test_adapter_names_its_base(folder: Path) -> None:
    # Beside a config.json as well: transformers would put that adapter on the model without a word.
    (folder / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": "Qwen/Qwen3-0.6B"}))
    assert "MODEL=Qwen/Qwen3-0.6B" in refused(folder)
    (folder / "config.json").unlink()
    assert "This is an adapter" in refused(folder)
    (folder / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": "\x1b[31mred; rm -rf"}))
    assert "\x1b" not in refused(folder)
