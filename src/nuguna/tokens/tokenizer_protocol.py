"""What we ask of a tokenizer: transformers' fast tokenizers have it, and whatever else has it can stand in
for them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol


class AddedToken(Protocol):
    """A token that stands outside the learned vocabulary; `str` gives its text."""

    special: bool  # marks turns or ends, and is no text that anyone writes


class Tokenizer(Protocol):
    """Text to token ids and back, with the template that lays out a chat."""

    chat_template: str  # Jinja; `load_tokenizer` sees to it that there is one
    bos_token: str | None
    eos_token: str | None
    bos_token_id: int | None
    eos_token_id: int | None
    pad_token: str | None
    pad_token_id: int | None
    all_special_ids: list[int]
    all_special_tokens: list[str]
    added_tokens_decoder: Mapping[int, AddedToken]
    special_tokens_map: Mapping[str, object]

    @property
    def backend_tokenizer(self) -> Any:
        """The tokenizers library's own object; `to_str()` gives all that decides which tokens a text
        becomes.
        """

    def __hash__(self) -> int:
        """Return what it is remembered by, with what was found out about its template."""

    def __len__(self) -> int:
        """Return how many tokens there are, added ones included."""

    def __call__(self, text: str | Sequence[str], **options: object) -> Mapping[str, Any]:
        """Return `input_ids`, and `offset_mapping` ((begin, end) of each token) if asked for: lists, one a
        text if several.
        """

    def apply_chat_template(self, conversation: Sequence[Mapping[str, Any]], **options: object) -> Any:
        """Return the messages as the template lays them out: a text, or token ids with `tokenize=True`."""

    def convert_ids_to_tokens(self, ids: list[int]) -> list[str]:
        """Return each token as it stands in the vocabulary."""

    def decode(self, token_ids: Sequence[int], *, skip_special_tokens: bool = False) -> str:
        """Return the text of token ids (tokens,)."""

    def save_pretrained(self, save_directory: Path) -> object:
        """Write the files from which it can be loaded again."""
