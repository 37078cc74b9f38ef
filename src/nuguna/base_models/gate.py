"""The gate: what a model, tokenizer or adapter folder asks for is read as data before any library loads
anything from it.

Refused is whatever would run code that came with the folder, open a file outside it, unpickle weights, or
take memory out of all proportion to the weights that are there. No torch, no transformers, no peft: these are
what is protected. docs/reliability.md lists what is refused and why.
"""

from __future__ import annotations

import re
import stat
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ..disk.json_file import all_pairs, read_object, shown
from ..errors import ModelError
from ..message import Message, say
from .template_gate import check_template
from .weights import OTHER_FORMATS, Header, no_safetensors, read_header, refused

# Keys by which a configuration makes transformers, diffusers or peft import Python, whatever their value.
CODE_KEYS = frozenset(
    "auto_map custom_pipeline custom_pipelines trust_remote_code custom_generate kernel_config use_kernels"
    " _attn_implementation_internal _experts_implementation_internal".split()
)
# What attention may be called. Any other name is a kernel of somebody's ("owner/name" downloads one and runs
# it).
ATTENTIONS = (None, "eager", "sdpa", "flash_attention_2", "flash_attention_3", "flex_attention")
# How weights may be packed: those whose loading takes nothing but numbers from the configuration.
PACKINGS = ("bitsandbytes", "gptq", "awq", "compressed-tensors", "fp8", "mxfp4")
MODEL_TYPE = re.compile(r"[a-z0-9_.-]{1,64}")
# how transformers' text writing classes end
TEXT_MODELS = ("ForCausalLM", "LMHeadModel", "ForConditionalGeneration")
# transformers looks this name up among everything it has, and calls its from_pretrained.
TOKENIZER_CLASS = re.compile(
    r"(?!Auto)\w{0,60}Tokenizer(Fast)?|TokenizersBackend|PythonBackend|MistralCommonBackend", re.ASCII
)
# Keys of files that these folders carry from where they were made; transformers overwrites or never opens
# them.
_LEFTOVERS = (
    "name_or_path",
    "_name_or_path",
    "base_model_name_or_path",
    "tokenizer_file",
    "special_tokens_map_file",
)
_NAMES_A_FILE = re.compile(r"(_files?|_paths?|_dirs?)$|^(vocab|merges|transformers_weights)$")
_SIZE = re.compile(
    r"(^|_)(num|n|max|size|dim|rank|layers?|heads?|experts?|positions|embd|inner|ctx|width|depth)(_|$)"
)
MAX_SIZE = 2**31
MAX_POSITIONS = 2**27  # 13 times the longest context that is sold (10 million tokens)
_POSITIONS = re.compile(r"positions?(_embeddings)?$|_ctx$|_length$|_window$|_len$")
# transformers reads config.json on its way to a tokenizer; the settings for generation come with the model
_TOKENIZER = "tokenizer_config.json"
_READ_WITH_A_TOKENIZER = (
    _TOKENIZER,
    "config.json",
    "generation_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
)
_TOO_LARGE = say("The configuration of this model describes a larger model than its weight files contain.")
MAX_BEYOND = 4  # times what is stored: four numbers to a byte is the tightest that is packed
SMALL_PARAMETERS = 2**20
READ_BY_LIBRARIES = (".json", ".jinja", ".model", ".txt", ".safetensors", ".tiktoken")
MORE_TEMPLATES = "additional_chat_templates"
MAX_TOKENIZER_BYTES = 256 * 2**20  # the largest in use has 33 MB
# Methods whose weights are matrices for the layers that are there. The others load further models, tokenizers
# or pickles.
ADAPTERS = frozenset(
    "LORA ADALORA LOHA LOKR IA3 OFT BOFT VERA HRA BONE MISS RANDLORA FOURIERFT LN_TUNING".split()
)
# By these an adapter_config.json imports modules, or opens files and further models (peft 0.19 to 0.21).
ADAPTER_CODE_KEYS = frozenset(
    "megatron_config auto_mapping corda_config eva_config lora_ga_config loraga_config arrow_config "
    "adapters tokenizer_kwargs tokenizer_name_or_path prompt_tuning_init_state_dict_path "
    "layer_replication".split()
)
_PATTERNS = ("target_modules", "exclude_modules", "layers_pattern")  # texts are regular expressions
_SLOW_PATTERN = re.compile(r"\)[*+{]")
MAX_REPEATS = 6  # of "*", "+" and "{" in a pattern: each multiplies the time by the length of a layer's name


def check_config(config: object, *, source: str) -> dict[str, Any]:
    """Let a parsed config.json through if it asks for no code of its own and describes a model that writes
    text.

    `source` (a path or an address) is for the messages. Raises `ModelError`.
    """
    checked = check_no_code(config, source=source)
    for _, key, value in (*((0, key, value) for key, value in checked.items()), *all_pairs(checked)):
        if key == "model_type" and not (isinstance(value, str) and MODEL_TYPE.fullmatch(value)):
            raise _unnamed(source, value)
        if (
            type(value) is int
            and _SIZE.search(key)
            and value >= (MAX_POSITIONS if _POSITIONS.search(key) else MAX_SIZE)
        ):
            seen = say('{source}: "{name}" is {value}', source=source, name=key, value=shown(value))
            raise refused(say("The size of this model cannot be read from its configuration."), seen)
    if "model_type" not in checked:
        raise _unnamed(source, None)
    architectures = checked.get("architectures") or ["ForCausalLM"]
    if not isinstance(architectures, list):
        architectures = [architectures]
    writes_text = any(str(name).endswith(TEXT_MODELS) for name in architectures)
    if not writes_text or checked.get("is_encoder_decoder"):
        seen = say('{source}: "architectures" is {value}', source=source, value=shown(architectures))
        raise refused(
            say("This model does not write text word by word, so it cannot be trained to answer."), seen
        )
    return checked


def check_no_code(config: object, *, source: str) -> dict[str, Any]:
    """Refuse a configuration that names Python code, at any depth. Raises `ModelError`."""
    if not isinstance(config, dict):
        seen = say("{source} starts with: {value}", source=source, value=shown(config))
        raise refused(say("The model's configuration is not a JSON object."), seen)
    for _, key, value in all_pairs(config):
        is_attention = key.endswith(("attn_implementation", "experts_implementation"))
        chosen = value.values() if isinstance(value, dict) else [value]
        names_code = is_attention and any(
            one not in (*ATTENTIONS, "grouped_mm", "batched_mm") for one in map(_hashable, chosen)
        )
        if key in CODE_KEYS or names_code or (key == "tokenizer_class" and not _is_tokenizer_class(value)):
            seen = say('{source} has "{key}": {value}', source=source, key=key, value=shown(value))
            raise refused(
                say("This model wants to run program code from its own folder, and nuguna never does that."),
                seen,
            )
        if key == "quant_method" and value not in PACKINGS:
            seen = say('{source} has "{key}": {value}', source=source, key=key, value=shown(value))
            raise refused(
                say("The weights of this model are stored in a format that nuguna does not open."), seen
            )
    return config


def check_folder(folder: Path) -> None:
    """Look at all files that libraries would read in a folder, of whatever kind. Raises `ModelError`.

    Links may lead to files of the same folder only, or as in the hub's cache to the repository's own `blobs`.
    """
    root = folder.resolve()
    blobs = root.parents[1] / "blobs" if root.parent.name == "snapshots" and len(root.parents) > 1 else root
    for path in files_read(folder):
        place = path.resolve()
        if not (place.is_relative_to(root) or place.is_relative_to(blobs)):
            raise outside(say("{file} is a link to another folder", file=str(path)))
        if place.exists() and not stat.S_ISREG(place.stat().st_mode):
            raise outside(say("{file} is not an ordinary file", file=str(path)))
        if (
            path.name.startswith("tokenizer")
            and place.is_file()
            and place.stat().st_size > MAX_TOKENIZER_BYTES
        ):
            seen = say("{file}: {detail}", file=str(path), detail=f"{place.stat().st_size} bytes")
            raise refused(say("The tokenizer of this model is too large to be a real one."), seen)


def check_tokenizer_files(folder: Path) -> dict[str, Any]:
    """Look at the files of a tokenizer in a folder that `check_folder` let through. Return its
    tokenizer_config.json.

    Raise `ModelError`.
    """
    found: dict[str, dict[str, Any]] = {}
    for name in _READ_WITH_A_TOKENIZER:
        if (path := folder / name).is_file():
            found[name] = check_no_code(read_object(path), source=str(path))
            check_names_no_file(found[name], folder, source=str(path))
    config = found.get(_TOKENIZER, {})
    if config.get("init_inputs"):
        seen = say(
            '{source} has "{key}": {value}',
            source=str(folder),
            key="init_inputs",
            value=shown(config["init_inputs"]),
        )
        raise refused(
            say("This model wants to run program code from its own folder, and nuguna never does that."), seen
        )
    for source, template in _templates(folder, config):
        check_template(template, source=source)
    return config


def check_names_no_file(config: Mapping[str, Any], folder: Path, *, source: str) -> None:
    """Refuse a configuration that names a file outside its folder which is there to be read. Raises
    `ModelError`.
    """
    root = folder.resolve()
    for _, key, value in all_pairs(config):
        if key in _LEFTOVERS or not _NAMES_A_FILE.search(key):
            continue
        for name in value if isinstance(value, list) else [value]:
            if isinstance(name, str) and _leads_outside(name, root):
                seen = say('{source} has "{key}": {value}', source=source, key=key, value=shown(name))
                raise outside(seen)


def check_adapter_files(folder: Path) -> dict[str, Any]:
    """Look at a PEFT adapter in a folder that `check_folder` let through. Return its adapter_config.json.
    Raise `ModelError`.
    """
    path = folder / "adapter_config.json"
    config = check_no_code(read_object(path), source=str(path))
    weights = folder / "adapter_model.safetensors"
    if not weights.is_file():  # peft would unpickle adapter_model.bin, and ask the hub for what is not there
        names = [file.name for file in folder.iterdir()]
        if any(name.endswith(OTHER_FORMATS) for name in names):
            raise no_safetensors(str(folder), names)
        seen = say("There is no {name} in it.", name=weights.name)
        raise _refused_adapter(say("{folder} contains no finished adapter.", folder=folder), seen)
    header = read_header(weights)
    check_names_no_file(config, folder, source=str(path))
    for _, key, value in all_pairs(config):
        if (
            key in ADAPTER_CODE_KEYS
            and value
            or (key == "megatron_core" and value not in (None, "megatron.core"))
        ):
            seen = say('{source} has "{key}": {value}', source=str(path), key=key, value=shown(value))
            raise _refused_adapter(
                say("This adapter wants to load more than its own weights, and nuguna never does that."), seen
            )
    if _hashable(config.get("peft_type")) not in ADAPTERS:
        seen = say(
            '{source} has "{key}": {value}',
            source=str(path),
            key="peft_type",
            value=shown(config.get("peft_type")),
        )
        raise _refused_adapter(say("nuguna does not open this kind of adapter."), seen)
    _check_patterns(config, str(path))
    _check_ranks(config, header, str(path))
    return config


def _check_patterns(config: Mapping[str, Any], source: str) -> None:
    """Regular expressions that are matched against every layer's name; one can be made to take for ever."""
    found = [(key, config[key]) for key in _PATTERNS if isinstance(config.get(key), str)]
    found += [(key, name) for key in ("rank_pattern", "alpha_pattern") for name in config.get(key) or {}]
    for key, pattern in found:
        if (
            _SLOW_PATTERN.search(pattern)
            or sum(pattern.count(sign) for sign in "*+{") > MAX_REPEATS
            or len(pattern) > 4096
        ):
            seen = say('{source} has "{key}": {value}', source=source, key=key, value=shown(pattern))
            raise _refused_adapter(say("The layer names in this adapter are not valid names."), seen)


def _check_ranks(config: Mapping[str, Any], header: Header, source: str) -> None:
    """Matrices are made by the configuration and then filled from the file: the file must have that many
    rows.
    """
    largest = max((size for _, sizes in header.values() for size in sizes), default=0)
    ranks = [config.get("r"), *(config.get("rank_pattern") or {}).values()]
    for rank in ranks:
        if rank is not None and not (type(rank) is int and 0 <= rank <= largest):
            seen = say('{source}: "{name}" is {value}', source=source, name="r", value=shown(rank))
            raise _refused_adapter(say("The sizes given for this adapter do not match its weights."), seen)


def check_layers(num_layers: int, headers: Iterable[Header], *, source: str) -> None:
    """Refuse more layers than tensors; each is built one by one, before any weight is looked for. Raises
    `ModelError`.
    """
    num_tensors = sum(map(len, headers))
    if num_layers > num_tensors:
        seen = say(
            "{source} describes {layers} layers; the weight files hold {tensors} tensors.",
            source=source,
            layers=f"{num_layers:,}",
            tensors=num_tensors,
        )
        raise refused(_TOO_LARGE, seen)


def check_size(num_described: int, num_stored: int, *, source: str) -> None:
    """Refuse a configuration that describes a far larger model than lies in the weight files; memory is taken
    by the former.

    Both in parameters. A buffer, a head that is tied or another way of counting packed weights is no reason.
    Raises `ModelError`.
    """
    if num_described > MAX_BEYOND * num_stored + SMALL_PARAMETERS:
        described, stored = f"{num_described:,}", f"{num_stored:,}"
        seen = say(
            "{source} describes {described} parameters; the weight files hold {stored}.",
            source=source,
            described=described,
            stored=stored,
        )
        raise refused(_TOO_LARGE, seen)


def _templates(folder: Path, config: Mapping[str, Any]) -> Iterable[tuple[str, object]]:
    """Yield every chat template of a folder, and where it stands."""
    told = config.get("chat_template")
    if isinstance(told, list):
        told = {str(one.get("name")): one.get("template") for one in told if isinstance(one, dict)}
    for template in told.values() if isinstance(told, dict) else [told] if told is not None else []:
        yield str(folder / "tokenizer_config.json"), template
    for path in (folder / "chat_template.jinja", *sorted((folder / MORE_TEMPLATES).glob("*.jinja"))):
        if path.is_file():
            yield str(path), path


def files_read(folder: Path) -> list[Path]:
    """Return the files of a folder that libraries may open when they load from it."""
    more = folder / MORE_TEMPLATES
    found = [*folder.iterdir(), *(more.iterdir() if more.is_dir() else ())]
    return [path for path in found if path.name.endswith(READ_BY_LIBRARIES)]


def _leads_outside(name: str, root: Path) -> bool:
    """Return whether a name in a configuration is an address, or a file that exists outside `root`, seen from
    there or from here.
    """
    if is_on_another_machine(name) or "\0" in name:
        return True
    try:
        places = (root / name, Path(name), Path(name).expanduser())
        return any(place.exists() and not place.resolve().is_relative_to(root) for place in places)
    except (OSError, RuntimeError, ValueError):  # no name that a file can have
        return False


def is_on_another_machine(name: str) -> bool:
    """Return an address, or a share of a Windows network: merely asking whether that exists sends the user's
    password there, hashed.
    """
    return "://" in name or name.startswith(("\\\\", "//"))


def _is_tokenizer_class(value: object) -> bool:
    return value is None or (isinstance(value, str) and TOKENIZER_CLASS.fullmatch(value) is not None)


def _hashable(value: object) -> object:
    return value if value is None or isinstance(value, str) else repr(value)


def _unnamed(source: str, value: object) -> ModelError:
    seen = say('{source}: "model_type" is {value}', source=source, value=shown(value))
    return refused(say("It does not say what kind of model it is."), seen)


def outside(seen: Message) -> ModelError:
    """Return the error for a folder or repository that leads out of itself."""
    return ModelError(
        say("This model refers to files outside its own folder, and nuguna never reads those."),
        seen=seen,
        fix=say(
            "Choose another model, for example MODEL=demo. If it is your own, copy that file into its folder."
        ),
    )


def _refused_adapter(what: Message, seen: Message) -> ModelError:
    return ModelError(what, seen=seen, fix=say("Train one of your own: ./run.sh"))
