"""What we ask of a model. transformers' causal language models have it, also those that peft has wrapped."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

from torch import Tensor, nn


class CausalLM(Protocol):
    """A decoder with a vocabulary head, a module of torch. Its outputs and configuration are transformers'
    objects.
    """

    training: bool
    is_gradient_checkpointing: bool
    supports_gradient_checkpointing: bool

    @property
    def config(self) -> Any:
        """The architecture and its sizes."""

    @property
    def generation_config(self) -> Any:
        """The maker's settings for generation, and the tokens that end an answer."""

    def __call__(self, input_ids: Tensor, **options: object) -> Any:
        """Token ids (rows, tokens) → an output whose `logits`, also its first item, are (rows, tokens,
        vocabulary).
        """

    def generate(self, *, input_ids: Tensor, **options: object) -> Any:
        """Continue prompts (rows, tokens): `sequences` of the output is (rows, tokens + new)."""

    @property
    def base_model(self) -> nn.Module:
        """The decoder without its head: token ids (rows, tokens) → hidden states (rows, tokens, hidden)."""

    def get_input_embeddings(self) -> nn.Embedding:
        """Return the embeddings; their weight is (vocabulary, hidden)."""

    def get_output_embeddings(self) -> nn.Module | None:
        """Return the vocabulary head: (…, hidden) → (…, vocabulary)."""

    def set_attn_implementation(self, name: str) -> object:
        """Compute attention by the implementation of this name from now on."""

    def enable_input_require_grads(self) -> object:
        """Let gradients reach blocks that are computed twice, though the embeddings are frozen."""

    def train(self, mode: bool = True) -> CausalLM:
        """Switch to training, or back. Return the model itself."""

    def eval(self) -> CausalLM:
        """Switch training off. Return the model itself."""

    def modules(self) -> Iterator[nn.Module]:
        """Return all modules."""

    def named_modules(self) -> Iterator[tuple[str, nn.Module]]:
        """Return all modules with their full names."""

    def get_submodule(self, target: str) -> nn.Module:
        """Return the module of this full name."""

    def parameters(self) -> Iterator[nn.Parameter]:
        """Return all weights."""

    def named_parameters(self) -> Iterator[tuple[str, nn.Parameter]]:
        """Return all weights with their full names."""

    def state_dict(self) -> Mapping[str, Tensor]:
        """Return all that is saved of the model."""

    def save_pretrained(self, save_directory: Path, *, safe_serialization: bool) -> object:
        """Write the adapter, or all weights where there is none."""
