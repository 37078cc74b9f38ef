"""The LoRA adapter in a model: attach, save, open again, look at."""

from __future__ import annotations

import hashlib
import os
import shutil
import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model, get_peft_model_state_dict
from peft.tuners.lora import LoraLayer
from safetensors import SafetensorError, safe_open
from torch import nn
from transformers.pytorch_utils import Conv1D

from ..base_models.checked import CheckedAdapter, check_adapter, has_changed
from ..disk.durable import rename, sync_file
from ..disk.run_folder import ADAPTER, ADAPTER_CONFIG, CARD
from ..engine.adapter import block_linear_names
from ..engine.causal_lm import CausalLM
from ..engine.linear import LoraLinear
from ..engine.memory_watch import is_shortage
from ..engine.training import switch_checkpointing
from ..errors import EnvironmentFault, ModelError, first_line
from ..message import say
from ..tokens.tokenizer_protocol import Tokenizer


def attach_adapter(
    base: CausalLM, *, base_name: str, lora_r: int, lora_alpha: float, seed: int, gradient_checkpointing: bool
) -> CausalLM:
    """Put a fresh LoRA on all linear layers of the blocks; its weights are float32 whatever the base's dtype.

    The seed is set first, so that the random A matrices are the same in every run of one plan.
    """
    names = block_linear_names(base)
    config = LoraConfig(
        r=lora_r,
        lora_alpha=lora_alpha,
        lora_dropout=0.0,
        bias="none",
        target_modules=_shortest(names),
        task_type="CAUSAL_LM",
    )
    config.fan_in_fan_out = _uses_conv1d(base, names)
    # peft's way to bring one's own layer, for quantized ones too; it is not saved
    config._register_custom_module(
        {nn.Linear: LoraLinear, Conv1D: partial(LoraLinear, is_target_conv_1d_layer=True)}
    )
    torch.manual_seed(seed)
    if gradient_checkpointing:
        switch_checkpointing(base, is_on=True)
        base.enable_input_require_grads()
    wrapped = get_peft_model(base, config, autocast_adapter_dtype=True)
    wrapped.peft_config["default"].base_model_name_or_path = base_name
    model: CausalLM = wrapped
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()
    return model


def _shortest(names: list[str]) -> list[str]:
    """Module names for adapter_config.json: the last parts, as other tools expect them (q_proj, down_proj,
    …).
    """
    return sorted({name.rsplit(".", 1)[-1] for name in names})


def _uses_conv1d(base: CausalLM, names: list[str]) -> bool:
    return type(base.get_submodule(names[0])).__name__ == "Conv1D"


def save_adapter(model: CausalLM, tokenizer: Tokenizer, folder: Path) -> None:
    """Write a standard PEFT adapter with the tokenizer and the template it was trained with, each file whole
    or not at all.

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
            fix=say(
                "Free some disk space and start the same command again: it continues from the last "
                "checkpoint."
            ),
        ) from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def adapter_tensors(model: CausalLM) -> dict[str, torch.Tensor]:
    """Return the adapter's matrices by their names in the saved file."""
    found = get_peft_model_state_dict(model, save_embedding_layers=False)
    return {name: tensor for name, tensor in found.items() if "lora_" in name}


def lora_layers(model: CausalLM) -> dict[str, Any]:
    """Return the layers with LoRA by name."""
    return {name: module for name, module in model.named_modules() if isinstance(module, LoraLayer)}


@contextmanager
def reported_layers(model: CausalLM) -> Iterator[set[str]]:
    """While the block runs, the names of the layers with LoRA that compute something are put into the set."""
    called: set[str] = set()

    def report(name: str) -> Any:
        return lambda module, inputs: called.add(name)

    hooks = [layer.register_forward_pre_hook(report(name)) for name, layer in lora_layers(model).items()]
    try:
        yield called
    finally:
        for hook in hooks:
            hook.remove()


def reload_adapter(base: CausalLM, adapter: CheckedAdapter) -> CausalLM:
    """Attach a saved adapter to a loaded base, frozen. Raises `ModelError` when they do not belong together.

    peft passes over matrices that it does not find in the file or in the model (its issue 2115: no more than
    a warning), and the model would answer as if it had never been trained.
    """
    if has_changed(adapter):
        adapter = check_adapter(adapter.folder)
    folder = adapter.folder
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Found missing adapter keys", UserWarning)
            model: CausalLM = PeftModel.from_pretrained(base, str(folder)).eval()
        if (folder / ADAPTER).is_file():
            with safe_open(folder / ADAPTER, framework="pt") as file:
                saved = {name for name in file.keys() if "lora_" in name}  # noqa: SIM118 - not a dict
            if strangers := sorted(saved ^ set(adapter_tensors(model))):
                raise ValueError(
                    f"{len(strangers)} matrices are in the file or in the model alone: {strangers[0]}"
                )
        return model
    except Exception as error:  # as above
        if is_shortage(error):
            raise
        raise ModelError(
            say("The adapter in {folder} cannot be attached to its base model.", folder=folder),
            seen=say("{reason}", reason=first_line(error)),
            fix=say("Train it again: ./run.sh"),
        ) from error


def without_adapter(model: CausalLM) -> AbstractContextManager[object]:
    """Return a context in which a model with an adapter computes as its base does."""
    assert isinstance(model, PeftModel)
    return model.disable_adapter()  # type: ignore[no-any-return]


def release(model: CausalLM) -> None:
    """Free a model's weights at once, whoever still holds the object; it cannot be used any more."""
    for parameter in model.parameters():
        parameter.data = torch.empty(0, dtype=parameter.dtype)


def base_fingerprint(model: CausalLM) -> str:
    """SHA-256 over all weights that are not the adapter's, to show that training left the base alone."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        if "lora_" not in name:
            plain = name.replace("base_model.model.", "", 1).replace(".base_layer.", ".")
            digest.update(plain.encode())
            digest.update(tensor.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
