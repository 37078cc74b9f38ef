"""Models, tokenizers, templates, adapters, datasets and plans that mean harm.

Each payload would leave a marker file if it ran, and each way out of a folder leads to a file that must not
be opened. An audit hook of Python itself watches for both. Every one is refused in one sentence, with exit
code 2.
"""

from __future__ import annotations

import json
import os
import pickle
import re
import shutil
import struct
import sys
import tracemalloc
import zipfile
from collections.abc import Callable
from gettext import GNUTranslations
from pathlib import Path
from typing import Any

import pytest

import nuguna
from nuguna.base_models.checked import check_adapter, check_model, check_tokenizer
from nuguna.base_models.template_gate import check_template
from nuguna.data.conversations.conversation import Turn
from nuguna.errors import NugunaError, UserError
from nuguna.model.adapter import attach_adapter, save_adapter
from nuguna.model.load import load_base
from nuguna.model.open import open_adapter
from nuguna.tokens.laid_out import render
from nuguna.tokens.tokenizer import load_tokenizer
from tests.conftest import DEMO_MODEL

CANARY = "the-canary-that-nobody-may-read"
Spoil = Callable[["Scene"], None]


class Scene:
    """A folder to spoil, a file outside it, and a marker that a payload leaves."""

    def __init__(self, folder: Path, base: Path) -> None:
        self.folder, self.base = folder, base
        self.outside = folder.parent / "outside.json"
        self.outside.write_text(json.dumps({"model_type": CANARY, "a": CANARY}))
        self.marker = folder.parent / "executed"
        self.payload = f"open({str(self.marker)!r}, 'w').close()\n"

    def change(self, name: str, **keys: Any) -> None:
        """Set keys in a JSON file of the folder."""
        path = self.folder / name
        path.write_text(json.dumps({**(json.loads(path.read_text()) if path.exists() else {}), **keys}))

    def drop(self, name: str, *keys: str) -> None:
        document = json.loads((self.folder / name).read_text())
        (self.folder / name).write_text(json.dumps({key: value for key, value in document.items() if key not in keys}))

    def write(self, name: str, content: str | bytes) -> None:
        (self.folder / name).write_bytes(content.encode() if isinstance(content, str) else content)

    def link(self, name: str, target: Path | None = None) -> None:
        (self.folder / name).unlink(missing_ok=True)
        (self.folder / name).symlink_to(target or self.outside)

    def header(self) -> tuple[dict[str, Any], bytes]:
        content = (self.folder / "model.safetensors").read_bytes()
        length = struct.unpack("<Q", content[:8])[0]
        return json.loads(content[8 : 8 + length]), content[8 + length :]

    def weights(self, header: Any, content: bytes) -> None:
        text = json.dumps(header).encode()
        self.write("model.safetensors", struct.pack("<Q", len(text)) + text + content)

    def big(self, name: str, num_bytes: int) -> None:
        """A file with a hole in it, which takes no room."""
        with (self.folder / name).open("r+b" if (self.folder / name).exists() else "wb") as file:
            file.truncate(num_bytes)


_watched: list[str] | None = None  # what is opened or started while a test watches; a hook cannot be taken away again


def _hook(event: str, args: tuple[Any, ...]) -> None:
    if _watched is None:
        return
    if event == "open" and isinstance(args[0], str | bytes):
        _watched.append(os.path.realpath(os.fsdecode(args[0])))
    elif event in ("pickle.find_class", "os.system", "subprocess.Popen", "os.exec", "os.posix_spawn"):
        _watched.append(event)


sys.addaudithook(_hook)


def watch(scene: Scene, action: Callable[[], object]) -> NugunaError:
    """Return the refusal of `action`, after looking at all that it opened and started."""
    global _watched
    _watched = []
    try:
        with pytest.raises(UserError) as caught:
            action()
    finally:
        seen, _watched = _watched, None
    assert not scene.marker.exists(), "code of the folder was run"
    assert os.path.realpath(scene.outside) not in seen
    assert not [event for event in seen if os.sep not in event], seen
    error = caught.value
    assert error.exit_code == 2 and str(error.fix)
    assert "\n" not in str(error) and CANARY not in str(error) and "Traceback" not in str(error)
    return error


@pytest.fixture
def scene(tmp_path: Path, model_folder: Callable[..., Path]) -> Scene:
    folder = tmp_path / "model"
    shutil.copytree(model_folder("llama"), folder)
    return Scene(folder, model_folder("llama"))


def evil_pickle(scene: Scene) -> bytes:
    class Evil:
        def __reduce__(self) -> tuple[Any, ...]:
            return exec, (scene.payload,)

    return pickle.dumps(Evil())


# ---- models


def config(**keys: Any) -> Spoil:
    def spoil(scene: Scene) -> None:
        scene.write("evil.py", scene.payload)
        scene.change("config.json", **keys)

    return spoil


def raw_config(content: str) -> Spoil:
    return lambda scene: scene.write("config.json", content)


def pickled(name: str) -> Spoil:
    def spoil(scene: Scene) -> None:
        (scene.folder / "model.safetensors").unlink()
        scene.write(name, evil_pickle(scene))

    return spoil


def index(name: str) -> Spoil:
    def spoil(scene: Scene) -> None:
        (scene.folder / "model.safetensors").rename(scene.folder / "model-00001-of-00001.safetensors")
        scene.write("x.bin", evil_pickle(scene))
        names = {"a": "model-00001-of-00001.safetensors", "b": name.format(outside=scene.outside)}
        scene.write("model.safetensors.index.json", json.dumps({"weight_map": names}))

    return spoil


def offsets(start: int, stop: int) -> Spoil:
    """Moves the second tensor of the file."""

    def spoil(scene: Scene) -> None:
        header, content = scene.header()
        second = sorted((entry["data_offsets"], name) for name, entry in header.items() if name != "__metadata__")[1][1]
        header[second]["data_offsets"] = [
            number + move for number, move in zip(header[second]["data_offsets"], (start, stop), strict=True)
        ]
        scene.weights(header, content)

    return spoil


def polyglot(scene: Scene) -> None:
    """Weights with a Python archive behind them: valid as both, for readers that do not look."""
    with zipfile.ZipFile(scene.folder / "model.safetensors", "a") as archive:
        archive.writestr("__main__.py", scene.payload)


def longer(scene: Scene) -> None:
    header, content = scene.header()
    scene.weights(header, content[:-16])


def long_header(scene: Scene) -> None:
    scene.write("model.safetensors", struct.pack("<Q", 150_000_000) + b"{")
    scene.big("model.safetensors", 200_000_000)


def fifo(scene: Scene) -> None:
    (scene.folder / "generation_config.json").unlink()
    os.mkfifo(scene.folder / "generation_config.json")


def in_a_cache(scene: Scene) -> None:
    """As the hub's cache lays out a model, but the blobs lie somewhere else."""
    elsewhere = scene.folder.parent / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "blob").write_bytes(scene.outside.read_bytes())
    scene.outside = elsewhere / "blob"
    place = scene.folder.parent / "models--a--b" / "snapshots" / "main"
    place.parent.mkdir(parents=True)
    scene.folder.rename(place)
    (place.parents[1] / "blobs").symlink_to(elsewhere)
    scene.folder = place
    scene.link("config.json", Path("../../blobs/blob"))


# few parameters in each, so that only their number stands out
THIN = {"hidden_size": 4, "intermediate_size": 1, "num_attention_heads": 1, "num_key_value_heads": 1, "head_dim": 4}

MODELS: dict[str, tuple[Spoil, str]] = {
    "auto_map": (config(auto_map={"AutoModelForCausalLM": "evil.Evil", "AutoConfig": "evil.Evil"}), "program code"),
    "custom_pipeline": (config(custom_pipeline="evil"), "program code"),
    "custom_generate": (config(custom_generate="evil"), "program code"),
    "nested_trust": (config(text_config={"trust_remote_code": True}), "program code"),
    "nested_auto_map": (config(vision_config={"deep": [[{"auto_map": {"AutoModel": "evil.Evil"}}]]}), "program code"),
    "internal_attention": (config(_attn_implementation_internal="evil/kernel"), "program code"),
    "internal_experts": (config(_experts_implementation_internal="evil/kernel"), "program code"),
    "kernel_of_a_hub": (config(attn_implementation="evil/kernel"), "program code"),
    "kernel_by_part": (config(_attn_implementation={"": "sdpa", "text_config": "evil/kernel"}), "program code"),
    "kernel_with_function": (config(text_config={"_attn_implementation": "evil:run"}), "program code"),
    "class_of_the_tokenizer": (config(tokenizer_class="AutoModelForCausalLM"), "program code"),
    "line_break_in_type": (config(model_type="llama\nimport os"), "what kind of model"),
    "line_break_at_the_end": (config(model_type="llama\n"), "what kind of model"),
    "line_break_in_nested_type": (config(text_config={"model_type": "llama\nimport os"}), "what kind of model"),
    "path_as_type": (config(model_type="../evil"), "what kind of model"),
    "unknown_type": (config(model_type="evil_model"), "cannot be loaded"),
    "unknown_packing": (config(quantization_config={"quant_method": "evil"}), "stored in a format"),
    "code_in_packing": (config(quantization_config={"quant_method": "gptq", "auto_map": {}}), "program code"),
    "weights_outside": (config(transformers_weights="../outside.json"), "outside its own folder"),
    "weights_elsewhere": (config(transformers_weights="https://evil.example/model.safetensors"), "outside its own folder"),
    "share_of_a_network": (config(backbone_path="\\\\evil.example\\share\\x"), "outside its own folder"),
    "billion_layers": (config(num_hidden_layers=10**9), "larger model than its weight files"),
    "few_more_layers": (config(num_hidden_layers=400), "larger model than its weight files"),
    "thin_layers": (config(num_hidden_layers=10_000, **THIN), "larger model than its weight files"),
    "trillion_parameters": (config(hidden_size=2**20, intermediate_size=2**22), "larger model than its weight files"),
    "trillion_tokens": (config(vocab_size=2**30), "larger model than its weight files"),
    "many_experts": (
        config(model_type="mixtral", architectures=["MixtralForCausalLM"], num_local_experts=10**6),
        "larger model than",
    ),
    "many_positions": (config(max_position_embeddings=10**12), "size of this model"),
    "huge_number": (config(num_attention_heads=10**400), "size of this model"),
    "nested_deep": (raw_config('{"a":' * 10_000 + "1" + "}" * 10_000), "not readable JSON"),
    "nested_somewhat": (raw_config('{"model_type": "llama", "a":' + '{"a":' * 200 + "1" + "}" * 201), "not readable JSON"),
    "not_json": (raw_config("import os"), "not readable JSON"),
    "list": (raw_config('[{"model_type": "llama"}]'), "JSON object"),
    "not_a_number": (config(rms_norm_eps=float("nan")), "not readable JSON"),
    "huge_config": (lambda scene: scene.big("config.json", 2**33), "not readable JSON"),
    "pipe": (fifo, "outside its own folder"),
    "pickle_alone": (pickled("pytorch_model.bin"), "older formats can hide programs"),
    "pickle_as_checkpoint": (pickled("model.ckpt"), "older formats can hide programs"),
    "pickle_as_safetensors": (pickled("model.safetensors"), "damaged"),
    "index_up": (index("../outside.json"), "in its own folder"),
    "index_absolute": (index("{outside}"), "in its own folder"),
    "index_pickle": (index("x.bin"), "in its own folder"),
    "linked_weights": (lambda scene: scene.link("model.safetensors"), "outside its own folder"),
    "linked_config": (lambda scene: scene.link("config.json"), "outside its own folder"),
    "linked_generation": (lambda scene: scene.link("generation_config.json"), "outside its own folder"),
    "linked_blobs": (in_a_cache, "outside its own folder"),
    "long_header": (long_header, "damaged"),
    "overlapping": (offsets(-4, 0), "damaged"),
    "gap": (offsets(4, 4), "damaged"),
    "beyond_the_end": (offsets(0, 2**40), "damaged"),
    "negative": (offsets(-(10**9), 0), "damaged"),
    "polyglot": (polyglot, "damaged"),
    "claims_more": (longer, "damaged"),
}


@pytest.mark.parametrize("name", MODELS)
def test_a_hostile_model_is_refused(scene: Scene, name: str) -> None:
    spoil, sentence = MODELS[name]
    spoil(scene)
    error = watch(scene, lambda: load_base(check_model(scene.folder), dtype="float32", device="cpu"))
    assert sentence in str(error)


# ---- tokenizers


def tokenizer(**keys: Any) -> Spoil:
    def spoil(scene: Scene) -> None:
        scene.write("evil.py", scene.payload)
        scene.change("tokenizer_config.json", **keys)

    return spoil


def without_file(**keys: str) -> Spoil:
    """Return a tokenizer without tokenizer.json, which transformers then makes of the files that its
    configuration names.
    """

    def spoil(scene: Scene) -> None:
        (scene.folder / "tokenizer.json").unlink()
        scene.change("tokenizer_config.json", **{key: value.format(outside=scene.outside) for key, value in keys.items()})

    return spoil


def mutated(change: Callable[[dict[str, Any]], object]) -> Spoil:
    def spoil(scene: Scene) -> None:
        document = json.loads((scene.folder / "tokenizer.json").read_text())
        change(document)
        (scene.folder / "tokenizer.json").write_text(json.dumps(document))

    return spoil


TOKENIZERS: dict[str, tuple[Spoil, str]] = {
    "auto_map": (tokenizer(auto_map={"AutoTokenizer": ["evil.Evil", None]}), "program code"),
    "any_class": (tokenizer(tokenizer_class="AutoModelForCausalLM"), "program code"),
    "itself": (tokenizer(tokenizer_class="AutoTokenizer"), "program code"),
    "function": (tokenizer(tokenizer_class="pipeline"), "program code"),
    "arguments": (tokenizer(init_inputs=["../outside.json"]), "program code"),
    "vocabulary_outside": (without_file(vocab_file="{outside}"), "outside its own folder"),
    "merges_outside": (without_file(vocab="../outside.json", merges="../outside.json"), "outside its own folder"),
    "gguf_outside": (without_file(gguf_file="{outside}"), "outside its own folder"),
    "versions_outside": (tokenizer(fast_tokenizer_files=["../outside.json"]), "outside its own folder"),
    "linked": (lambda scene: scene.link("tokenizer.json"), "outside its own folder"),
    "linked_model": (lambda scene: scene.link("tokenizer.model"), "outside its own folder"),
    "too_large": (lambda scene: scene.big("tokenizer.json", 2**33), "too large"),
    "cut": (lambda scene: scene.write("tokenizer.json", (DEMO_MODEL / "tokenizer.json").read_bytes()[:5000]), "cannot be loaded"),
    "bytes": (lambda scene: scene.write("tokenizer.json", bytes(range(256)) * 100), "cannot be loaded"),
    "nested": (lambda scene: scene.write("tokenizer.json", '{"added_tokens": ' + "[" * 100_000), "cannot be loaded"),
    "other_kinds": (mutated(lambda document: document.update(model={"type": "BPE", "vocab": 7})), "cannot be loaded"),
    "no_model": (mutated(lambda document: document.pop("model")), "cannot be loaded"),
    "panics_in_rust": (
        mutated(lambda document: document.update(normalizer={"type": "Precompiled", "precompiled_charsmap": "/////w=="})),
        "cannot be loaded",
    ),
    "added_as_list": (lambda scene: scene.write("added_tokens.json", "[]"), "JSON object"),
}


@pytest.mark.parametrize("name", TOKENIZERS)
def test_a_hostile_tokenizer_is_refused(scene: Scene, name: str, capfd: pytest.CaptureFixture[str]) -> None:
    spoil, sentence = TOKENIZERS[name]
    spoil(scene)
    error = watch(scene, lambda: load_tokenizer(check_tokenizer(scene.folder)))
    assert sentence in str(error)
    assert "panicked" not in capfd.readouterr().err


def test_a_tokenizer_that_fills_up_texts_without_end_fills_none(scene: Scene) -> None:
    mutated(
        lambda document: document.update(
            padding={
                "strategy": {"Fixed": 10**15},
                "direction": "Right",
                "pad_to_multiple_of": None,
                "pad_id": 0,
                "pad_type_id": 0,
                "pad_token": "x",
            }
        )
    )(scene)
    assert len(load_tokenizer(check_tokenizer(scene.folder))("hello")["input_ids"]) < 10


# ---- templates

GROW = "{%% set ns = namespace(x='aaaaaaaa') %%}{%% for i in range(60) %%}{%% set ns.x = %s %%}{%% endfor %%}{{ ns.x }}"
TEMPLATES = {
    "class": ("{{ ''.__class__.__mro__[1].__subclasses__() }}", "inside the program"),
    "filter": ("{{ ''|attr('__class__') }}", "inside the program"),
    "globals": ("{{ cycler.__init__.__globals__.os.popen('touch MARKER').read() }}", "inside the program"),
    "item": ("{{ messages[0]['__class__'] }}", "inside the program"),
    "loops": ("{% for a in range(60000) %}{% for b in range(60000) %}{% endfor %}{% endfor %}", "would never finish"),
    "loops_over_messages": ("{% for a in messages %}" * 15 + "{% endfor %}" * 15, "would never finish"),
    "long_loop": ("{% for a in range(10**9) %}{% endfor %}", "would never finish"),
    "product": ("{{ 'a' * 10000000000 }}", "would never finish"),
    "product_of_products": ("{{ 'a' * 1000 * 1000 * 1000 * 1000 }}", "would never finish"),
    "hidden_product": ("{% if messages|length > 999 %}{{ 'a' * n * m }}{% endif %}", "would never finish"),
    "power": ("{{ 10**10**8 }}", "would never finish"),
    "doubled": (GROW % "ns.x ~ ns.x", "would never finish"),
    "summed": (GROW % "ns.x + ns.x", "would never finish"),
    "replaced": (GROW % "ns.x.replace('a', 'aaaa')", "would never finish"),
    "filtered": (GROW % "ns.x|replace('a', 'aaaa')", "would never finish"),
    "listed": (GROW % "[ns.x, ns.x]", "would never finish"),
    "padded": ("{{ 'a'|center(1000000000) }}", "would never finish"),
    "formatted": ("{{ '%1000000000d' % 1 }}", "would never finish"),
    "macros": ("{% macro m(x) %}{{ m(x) }}{{ m(x) }}{% endmacro %}{{ m(1) }}", "would never finish"),
    "tree_of_macros": (
        "{% macro m(x) %}{% if x > 0 %}{{ m(x-1) }}{{ m(x-1) }}{% endif %}{% endmacro %}{{ m(40) }}",
        "would never finish",
    ),
    "long": ("a" * 70_000, "longer than 64 KB"),
    "broken": ("{% for %}", "damaged"),
    "nested": ("{{ " + "(" * 3000 + "1" + ")" * 3000 + " }}", "damaged"),
}


@pytest.mark.parametrize("name", TEMPLATES)
def test_a_hostile_template_is_refused(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nuguna.base_models.template_gate.MAX_SECONDS", 0.3)
    template, sentence = TEMPLATES[name]
    tracemalloc.start()
    try:
        with pytest.raises(UserError, match=sentence) as caught:
            check_template(template, source="here")
        assert tracemalloc.get_traced_memory()[1] < 200e6
    finally:
        tracemalloc.stop()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "place", ["chat_template.jinja", "tokenizer_config.json", "by name", "additional_chat_templates/tools.jinja"]
)
def test_a_template_is_refused_wherever_it_stands(scene: Scene, place: str) -> None:
    template = f"{{{{ cycler.__init__.__globals__.os.system('touch {scene.marker}') }}}}"
    (scene.folder / "chat_template.jinja").unlink(missing_ok=True)
    if place == "by name":
        scene.change(
            "tokenizer_config.json", chat_template=[{"name": "default", "template": "x"}, {"name": "b", "template": template}]
        )
    elif place == "tokenizer_config.json":
        scene.change("tokenizer_config.json", chat_template=template)
    else:
        (scene.folder / place).parent.mkdir(exist_ok=True)
        scene.write(place, template)
    error = watch(scene, lambda: load_base(check_model(scene.folder), dtype="float32", device="cpu"))
    assert "inside the program" in str(error)


def test_data_are_never_a_template(scene: Scene) -> None:
    """What stands in a dataset, in a system prompt or a question is written as it is."""
    loaded = load_tokenizer(check_tokenizer(scene.folder))
    attack = "{{ cycler.__init__.__globals__.os.system('touch " + str(scene.marker) + "') }}{% for x in range(9) %}x{% endfor %}"
    text = render(loaded, [Turn("system", attack), Turn("user", attack), Turn("assistant", attack)], for_answer=False)
    assert text.count(attack) == 3
    assert not scene.marker.exists()


# ---- adapters


@pytest.fixture(scope="module")
def adapter_folder(model_folder: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("adapter")
    loaded = load_base(check_model(model_folder("llama")), dtype="float32", device="cpu")
    tuned = attach_adapter(
        loaded.model, base_name=str(model_folder("llama")), lora_r=4, lora_alpha=8, seed=0, gradient_checkpointing=False
    )
    save_adapter(tuned, loaded.tokenizer, folder)
    return folder


@pytest.fixture
def adapter(tmp_path: Path, adapter_folder: Path, model_folder: Callable[..., Path]) -> Scene:
    shutil.copytree(adapter_folder, tmp_path / "adapter")
    return Scene(tmp_path / "adapter", model_folder("llama"))


def adapter_config(**keys: Any) -> Spoil:
    def spoil(scene: Scene) -> None:
        scene.write("evil.py", scene.payload)
        made = {key: value.format(outside=scene.outside) if isinstance(value, str) else value for key, value in keys.items()}
        scene.change("adapter_config.json", **made)

    return spoil


def pickled_adapter(scene: Scene) -> None:
    (scene.folder / "adapter_model.safetensors").unlink()
    scene.write("adapter_model.bin", evil_pickle(scene))


def hostile_base(scene: Scene) -> None:
    base = scene.folder.parent / "base"
    shutil.copytree(scene.base, base)
    (base / "evil.py").write_text(scene.payload)
    document = json.loads((base / "config.json").read_text())
    (base / "config.json").write_text(json.dumps({**document, "auto_map": {"AutoModelForCausalLM": "evil.Evil"}}))
    scene.change("adapter_config.json", base_model_name_or_path=str(base))


def plan(text: str) -> Spoil:
    return lambda scene: scene.write("plan.toml", text)


ADAPTERS: dict[str, tuple[Spoil, str]] = {
    "pickle": (pickled_adapter, "older formats can hide programs"),
    "nothing": (lambda scene: (scene.folder / "adapter_model.safetensors").unlink(), "no finished adapter"),
    "auto_map": (adapter_config(auto_map={"AutoModel": "evil.Evil"}), "program code"),
    "imported_module": (adapter_config(megatron_config={"a": 1}, megatron_core="evil"), "more than its own weights"),
    "parent_library": (adapter_config(auto_mapping={"parent_library": "evil", "base_model_class": "Evil"}), "more than its own"),
    "more_adapters": (adapter_config(peft_type="XLORA", adapters={"0": "../../outside"}), "more than its own weights"),
    "pickled_prompt": (
        adapter_config(peft_type="MULTITASK_PROMPT_TUNING", prompt_tuning_init_state_dict_path="{outside}"),
        "outside its own folder",
    ),
    "pickled_cache": (adapter_config(corda_config={"cache_file": "x.pt"}), "more than its own weights"),
    "other_tokenizer": (
        adapter_config(tokenizer_name_or_path="evil/model", tokenizer_kwargs={"use_fast": True}),
        "more than its own",
    ),
    "other_method": (adapter_config(peft_type="PROMPT_TUNING"), "not open this kind of adapter"),
    "rank": (adapter_config(r=10**9), "sizes given for this adapter"),
    "rank_of_a_layer": (adapter_config(rank_pattern={"q_proj": 10**9}), "sizes given for this adapter"),
    "copied_layers": (adapter_config(layer_replication=[[0, 10**9]]), "more than its own weights"),
    "slow_names": (adapter_config(target_modules="(a+)+$"), "are not valid names"),
    "linked_weights": (lambda scene: scene.link("adapter_model.safetensors"), "outside its own folder"),
    "linked_config": (lambda scene: scene.link("adapter_config.json"), "outside its own folder"),
    "nested": (lambda scene: scene.write("adapter_config.json", "[" * 10_000), "not readable JSON"),
    "hostile_base": (hostile_base, "program code"),
    "base_up": (adapter_config(base_model_name_or_path="../" * 20 + "etc"), "does not contain a model"),
    "base_on_a_share": (adapter_config(base_model_name_or_path="\\\\evil.example\\share"), "which base model"),
    "template": (lambda scene: scene.write("chat_template.jinja", TEMPLATES["globals"][0]), "inside the program"),
    "tokenizer": (tokenizer(auto_map={"AutoTokenizer": ["evil.Evil", None]}), "program code"),
    "config_beside": (lambda scene: scene.write("config.json", '{"auto_map": {"AutoConfig": "evil.Evil"}}'), "program code"),
    "plan_dtype": (plan('dtype = "load"'), "was not written by nuguna"),
    "plan_device": (plan('device = "meta"'), "was not written by nuguna"),
    "plan_kind": (plan('micro_batch_size = "many"'), "was not written by nuguna"),
}


@pytest.mark.parametrize("name", ADAPTERS)
def test_a_hostile_adapter_is_refused(adapter: Scene, name: str) -> None:
    spoil, sentence = ADAPTERS[name]
    spoil(adapter)
    error = watch(adapter, lambda: open_adapter(check_adapter(adapter.folder)))
    assert sentence in str(error)


# ---- the documentation


@pytest.mark.parametrize(("name", "lang"), [("reliability.md", "en"), ("reliability.ko.md", "ko")])
def test_the_documentation_says_what_the_program_says(name: str, lang: str) -> None:
    text = (Path(__file__).parents[2] / "docs" / name).read_text(encoding="utf-8")
    count = re.search(r"<!-- hostile:begin -->(\d+)<!-- hostile:end -->", text)
    num_fixtures = len(MODELS) + len(TOKENIZERS) + len(TEMPLATES) + len(ADAPTERS)
    assert count and int(count[1]) == num_fixtures, num_fixtures
    part = text.split("\n## ")[1]
    told = [line.strip("|").rsplit(" | ", 1)[1].strip() for line in part.splitlines() if line.startswith("| ")][1:]
    with (Path(nuguna.__file__).parent / "locale/ko/LC_MESSAGES/nuguna.mo").open("rb") as file:
        catalogue: Any = GNUTranslations(file)
    known = [key if lang == "en" else value for key, value in catalogue._catalog.items() if isinstance(key, str) and key]
    patterns = [re.sub(r"\\\{\w+\\\}", ".+", re.escape(sentence)) for sentence in known if len(sentence) > 20]
    assert len(told) > 20
    assert [sentence for sentence in told if not any(re.fullmatch(pattern, sentence) for pattern in patterns)] == []
