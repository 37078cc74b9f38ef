"""Load the base model, attach, save and reload the adapter. Only safetensors, never a model's own code."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM

from ..base_models.checked import CheckedModel, check_model, has_changed
from ..base_models.gate import check_size
from ..engine.causal_lm import CausalLM
from ..engine.forward import CAREFUL, Shortcuts
from ..engine.memory_watch import is_shortage
from ..engine.quantized import keep_layout, problem
from ..errors import EnvironmentFault, ModelError, NugunaError, first_line
from ..message import say
from ..tokens.laid_out import end_token_ids
from ..tokens.tokenizer import load_tokenizer
from ..tokens.tokenizer_protocol import Tokenizer


@dataclass(frozen=True)
class Loaded:
    """A model ready for use, with its tokenizer and the tokens that end an answer."""

    model: CausalLM
    tokenizer: Tokenizer
    eos_ids: frozenset[int]
    shortcuts: Shortcuts = CAREFUL  # what `find_shortcuts` found of the base model


def load_base(base: CheckedModel, *, dtype: str, device: str, quantization: str = "none") -> Loaded:
    """Load base weights and tokenizer. Raise `ModelError` when they do not fit together."""
    if has_changed(base):
        base = check_model(base.folder)
    tokenizer = load_tokenizer(base.tokenizer)
    options: dict[str, Any] = {"dtype": getattr(torch, dtype)}
    if quantization != "none":
        options["quantization_config"] = _quantization_config(quantization, dtype)
        options["device_map"] = {"": device}
    model = _from_pretrained(base.folder, options, base.num_parameters)
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
        # SDPA has no cap for attention scores (Gemma 2): only the plain implementation computes these models
        # exactly
        exact = "eager" if config.get_text_config().to_dict().get("attn_logit_softcapping") else "sdpa"
        _without_dropout(config)
        return AutoModelForCausalLM.from_pretrained(
            folder, config=config, attn_implementation=exact, **common, **options
        )
    except Exception as error:  # what stands in a configuration can fail in any way
        if is_shortage(error) or isinstance(error, NugunaError):
            raise
        raise ModelError(
            say("The model in {folder} cannot be loaded.", folder=folder),
            seen=say("{reason}", reason=first_line(error)),
            fix=say("Choose another model, for example MODEL=demo."),
        ) from error


def _require_size(config: Any, num_stored: int, folder: Path) -> None:
    """Build the model without memory and count: transformers makes room for all that is described, whatever
    the files hold.
    """
    with torch.device("meta"):
        built = AutoModelForCausalLM.from_config(config)
    described = sum(tensor.numel() for tensor in (*built.parameters(), *built.buffers()))
    check_size(described, num_stored, source=str(folder / "config.json"))


def _without_dropout(config: Any) -> None:
    """Dropout belongs to the training of the base (GPT-2 keeps 0.1 in its configuration). It would make what
    is learned depend on the micro-batch size, and a continued run different from one that was not
    interrupted.
    """
    for part in (config, config.get_text_config()):
        for name, value in vars(part).items():
            if isinstance(value, float) and name.endswith(
                ("dropout", "dropout_prob", "dropout_rate", "_pdrop")
            ):
                setattr(part, name, 0.0)


def require_quantization(kind: str, device: str) -> None:
    """Raise `EnvironmentFault` where weights of this kind cannot be used; found out by trying, before
    anything is downloaded.
    """
    if kind == "none" or (why := problem(kind, device)) is None:
        return
    raise EnvironmentFault(
        say("{kind} weights cannot be used on this machine.", kind=kind),
        seen=why,
        fix=say(
            "Install or update the package (.venv/bin/pip install -U bitsandbytes), do without it "
            "(QUANTIZATION=none ./run.sh), or choose a smaller model."
        ),
    )


def _quantization_config(kind: str, dtype: str) -> Any:
    from transformers import BitsAndBytesConfig

    if kind == "8bit":
        return BitsAndBytesConfig(load_in_8bit=True)
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=getattr(torch, dtype),
    )
