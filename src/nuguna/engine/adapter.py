"""Where LoRA goes: every linear layer inside the repeated blocks, found by type and place, whatever the
architecture calls it.
"""

from __future__ import annotations

from torch import nn
from transformers.pytorch_utils import Conv1D

from ..errors import ModelError
from ..message import say
from .causal_lm import CausalLM


def block_linear_names(model: CausalLM) -> list[str]:
    """Full names of the linear layers (`nn.Linear`, quantized ones, GPT-2's `Conv1D`) of all transformer
    blocks.

    Neither embeddings nor the head are touched.
    """
    prefix, blocks = find_blocks(model)
    return [f"{prefix}.{name}" for name, module in blocks.named_modules() if _is_linear(module)]


def find_blocks(model: CausalLM) -> tuple[str, nn.ModuleList]:
    """Name and list of the transformer blocks: the longest `ModuleList` of like modules. Raises `ModelError`
    if there is none.
    """
    lists = [(name, m) for name, m in model.named_modules() if isinstance(m, nn.ModuleList) and len(m) > 0]
    lists = [(name, m) for name, m in lists if any(_is_linear(x) for x in m.modules())]
    if not lists:
        raise ModelError(
            say(
                "No transformer blocks with linear layers were found in this model, so no adapter can be "
                "attached."
            ),
            seen=say("{kind}", kind=type(model).__name__),
            fix=say("Choose a decoder language model, for example MODEL=demo."),
        )
    # the outermost list of blocks: expert lists inside blocks are shorter names' children
    return min(lists, key=lambda item: (item[0].count("."), -len(item[1])))


def linears_without_adapter(model: CausalLM) -> list[str]:
    """Return names of the linear layers of the blocks on which no adapter lies."""
    prefix, blocks = find_blocks(model)
    bare = (name for name, m in blocks.named_modules() if _is_linear(m) and "lora_" not in name)
    return [f"{prefix}.{name}" for name in bare if not name.endswith(".base_layer")]


def _is_linear(module: object) -> bool:
    # bitsandbytes' Linear8bitLt and Linear4bit are subclasses of nn.Linear
    return isinstance(module, (nn.Linear, Conv1D))


def adapter_parameters(model: CausalLM) -> dict[str, nn.Parameter]:
    """Return the trainable parameters by name."""
    return {name: p for name, p in model.named_parameters() if p.requires_grad}
