"""Load the base model, attach, save and reload the adapter. Only safetensors, never a model's own code."""

from __future__ import annotations

import hashlib
import os
import shutil
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model, get_peft_model_state_dict
from peft.tuners.lora import LoraLayer
from safetensors import SafetensorError, safe_open
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM
from transformers.pytorch_utils import Conv1D

from .catalog import describe_folder
from .data.encode import end_token_ids
from .durable import rename, sync_file
from .engine.adapter import block_linear_names
from .engine.linear import LoraLinear
from .engine.quantized import keep_layout, problem
from .engine.training import switch_checkpointing
from .errors import EnvironmentFault, ModelError, NugunaError
from .gate import check_adapter, check_size
from .message import say
from .runfolder import ADAPTER, ADAPTER_CONFIG, CARD
from .shortage import is_shortage
from .tokenizer import load_tokenizer


@dataclass(frozen=True)
class Loaded:
    """A model ready for use, with its tokenizer and the tokens that end an answer."""

    model: Any
    tokenizer: Any
    end_ids: frozenset[int]


def load_base(folder: Path, *, dtype: str, device: str, quantization: str = "none") -> Loaded:
    """Load base weights and tokenizer from a local folder. Raises `ModelError` when they do not fit together."""
    found = describe_folder(folder)  # the gate: everything that is loaded below goes through it, whoever asks
    tokenizer = load_tokenizer(folder)
    options: dict[str, Any] = {"dtype": getattr(torch, dtype)}
    if quantization != "none":
        options["quantization_config"] = _quantization_config(quantization, dtype)
        options["device_map"] = {"": device}
    model = _from_pretrained(folder, options, found.num_parameters)
    if quantization == "none":
        model = model.to(device)
    keep_layout(model)
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    vocabulary = model.get_input_embeddings().weight.shape[0]
    if len(tokenizer) > vocabulary:
        raise ModelError(
            say("The tokenizer knows more tokens than the model has embeddings."),
            seen=say("{tokens} tokens, {rows} embeddings", tokens=len(tokenizer), rows=vocabulary),
            fix=say("The folder mixes files of two models: download the model again."),
        )
    eos = getattr(model.generation_config, "eos_token_id", None)
    return Loaded(model.eval(), tokenizer, end_token_ids(tokenizer, eos))


def _from_pretrained(folder: Path, options: dict[str, Any], num_stored: int) -> Any:
    common = {"local_files_only": True, "trust_remote_code": False, "use_safetensors": True}
    try:
        config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        _require_size(config, num_stored, folder)
        # SDPA has no cap for attention scores (Gemma 2): only the plain implementation computes these models exactly
        exact = "eager" if config.get_text_config().to_dict().get("attn_logit_softcapping") else "sdpa"
        _without_dropout(config)
        return AutoModelForCausalLM.from_pretrained(folder, config=config, attn_implementation=exact, **common, **options)
    except Exception as error:  # what stands in a configuration can fail in any way
        if is_shortage(error) or isinstance(error, NugunaError):
            raise
        raise ModelError(
            say("The model in {folder} cannot be loaded.", folder=folder),
            seen=say("{reason}", reason=_first_line(error)),
            fix=say("Choose another model, for example MODEL=demo."),
        ) from error


def _require_size(config: Any, num_stored: int, folder: Path) -> None:
    """Build the model without memory and count: transformers makes room for all that is described, whatever the files hold."""
    with torch.device("meta"):
        built = AutoModelForCausalLM.from_config(config)
    described = sum(tensor.numel() for tensor in (*built.parameters(), *built.buffers()))
    check_size(described, num_stored, source=str(folder / "config.json"))


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), "") or type(error).__name__


def _without_dropout(config: Any) -> None:
    """Dropout belongs to the training of the base (GPT-2 keeps 0.1 in its configuration). It would make what is learned depend on
    the micro-batch size, and a continued run different from one that was not interrupted.
    """
    for part in (config, config.get_text_config()):
        for name, value in vars(part).items():
            if isinstance(value, float) and name.endswith(("dropout", "dropout_prob", "dropout_rate", "_pdrop")):
                setattr(part, name, 0.0)


def require_quantization(kind: str, device: str) -> None:
    """Raise `EnvironmentFault` where weights of this kind cannot be used; found out by trying, before anything is downloaded."""
    if kind == "none" or (why := problem(kind, device)) is None:
        return
    raise EnvironmentFault(
        say("Weights of {kind} cannot be used on this machine.", kind=kind),
        seen=why,
        fix=say(
            "Install or renew the package (.venv/bin/pip install -U bitsandbytes), go without it (QUANTIZATION=none ./run.sh), or"
            " take a smaller model."
        ),
    )


def _quantization_config(kind: str, dtype: str) -> Any:
    from transformers import BitsAndBytesConfig

    if kind == "8bit":
        return BitsAndBytesConfig(load_in_8bit=True)
    return BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True, bnb_4bit_compute_dtype=getattr(torch, dtype)
    )


def attach_adapter(base: Any, *, base_name: str, lora_r: int, lora_alpha: float, seed: int, gradient_checkpointing: bool) -> Any:
    """Put a fresh LoRA on all linear layers of the blocks; its weights are float32 whatever the base's dtype.

    The seed is set first, so that the random A matrices are the same in every run of one plan.
    """
    names = block_linear_names(base)
    config = LoraConfig(
        r=lora_r, lora_alpha=lora_alpha, lora_dropout=0.0, bias="none", target_modules=_shortest(names), task_type="CAUSAL_LM"
    )
    config.fan_in_fan_out = _uses_conv1d(base, names)
    # peft's way to bring one's own layer, for quantized ones too; it is not saved
    config._register_custom_module({nn.Linear: LoraLinear, Conv1D: partial(LoraLinear, is_target_conv_1d_layer=True)})
    torch.manual_seed(seed)
    if gradient_checkpointing:
        switch_checkpointing(base, is_on=True)
        base.enable_input_require_grads()
    model = get_peft_model(base, config, autocast_adapter_dtype=True)
    model.peft_config["default"].base_model_name_or_path = base_name
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()
    return model


def _shortest(names: list[str]) -> list[str]:
    """Module names for adapter_config.json: the last parts, as other tools expect them (q_proj, down_proj, …)."""
    return sorted({name.rsplit(".", 1)[-1] for name in names})


def _uses_conv1d(base: nn.Module, names: list[str]) -> bool:
    return type(base.get_submodule(names[0])).__name__ == "Conv1D"


def save_adapter(model: Any, tokenizer: Any, folder: Path) -> None:
    """Write a standard PEFT adapter with the tokenizer and the template it was trained with, each file whole or not at all.

    Raises `EnvironmentFault`.
    """
    draft = folder / f".adapter.{os.getpid()}.tmp"
    try:
        draft.mkdir(parents=True)
        model.save_pretrained(draft, safe_serialization=True)
        tokenizer.save_pretrained(draft)
        (draft / CARD).unlink(missing_ok=True)  # peft's; ours comes with the report
        # the configuration last: with it an adapter is there
        for file in sorted(draft.iterdir(), key=lambda path: path.name == ADAPTER_CONFIG):
            sync_file(file)
            rename(file, folder / file.name)
    except (OSError, SafetensorError) as error:
        raise EnvironmentFault(
            say("The adapter could not be written to {folder}.", folder=folder),
            seen=say("{reason}", reason=getattr(error, "strerror", None) or error),
            fix=say("Free some disk space and start the same command again: it goes on from the last checkpoint."),
        ) from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def adapter_tensors(model: Any) -> dict[str, torch.Tensor]:
    """The adapter's matrices by their names in the saved file."""
    found = get_peft_model_state_dict(model, save_embedding_layers=False)
    return {name: tensor for name, tensor in found.items() if "lora_" in name}


def lora_layers(model: nn.Module) -> dict[str, Any]:
    """The layers with LoRA by name."""
    return {name: module for name, module in model.named_modules() if isinstance(module, LoraLayer)}


@contextmanager
def reported_layers(model: nn.Module) -> Iterator[set[str]]:
    """Within, the names of the layers with LoRA that compute something are put into the set."""
    called: set[str] = set()

    def report(name: str) -> Any:
        return lambda module, inputs: called.add(name)

    hooks = [layer.register_forward_pre_hook(report(name)) for name, layer in lora_layers(model).items()]
    try:
        yield called
    finally:
        for hook in hooks:
            hook.remove()


def reload_adapter(base: Any, folder: Path) -> Any:
    """Attach a saved adapter to a loaded base, frozen. Raises `ModelError` when they do not belong together.

    peft passes over matrices that it does not find in the file or in the model (its issue 2115: no more than a warning), and the
    model would answer as if it had never been trained.
    """
    check_adapter(folder)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Found missing adapter keys", UserWarning)
            model = PeftModel.from_pretrained(base, str(folder)).eval()
        if (folder / ADAPTER).is_file():
            with safe_open(folder / ADAPTER, framework="pt") as file:
                saved = {name for name in file.keys() if "lora_" in name}  # noqa: SIM118 - not a dict
            if strangers := sorted(saved ^ set(adapter_tensors(model))):
                raise ValueError(f"{len(strangers)} matrices are in the file or in the model alone: {strangers[0]}")
        return model
    except Exception as error:  # as above
        if is_shortage(error):
            raise
        raise ModelError(
            say("The adapter in {folder} cannot be put on its base model.", folder=folder),
            seen=say("{reason}", reason=_first_line(error)),
            fix=say("Train it again: ./run.sh"),
        ) from error


def release(model: nn.Module) -> None:
    """Free a model's weights at once, whoever still holds the object; it cannot be used any more."""
    for parameter in model.parameters():
        parameter.data = torch.empty(0, dtype=parameter.dtype)


def base_fingerprint(model: nn.Module) -> str:
    """SHA-256 over all weights that are not the adapter's, to show that training left the base alone."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        if "lora_" not in name:
            plain = name.replace("base_model.model.", "", 1).replace(".base_layer.", ".")
            digest.update(plain.encode())
            digest.update(tensor.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
