"""Encoded examples of any number: a flat row of tokens in memory, or in a file of which only what is asked for is read."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from array import array
from collections.abc import Mapping, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any, overload

from safetensors import safe_open

from ..disk.cache_folder import OwnedFile, unnamed_file
from .encode import Encoded

MOST_TOKENS_IN_MEMORY = 16_000_000
_PARTS = (("ids", "I32", "i"), ("trained", "U8", "B"), ("lengths", "I64", "q"), ("cut", "U8", "B"))  # name, dtype, array's letter


class Tokens(Sequence[Encoded]):
    """Examples, made when they are asked for."""

    def __init__(self, ids: Any, trained: Any, lengths: Sequence[int], cut: Sequence[int], metadata: Mapping[str, str]) -> None:
        self._ids, self._trained, self.lengths, self._cut, self.metadata = ids, trained, lengths, cut, metadata
        self._ends = array("q", accumulate(lengths))

    def __len__(self) -> int:
        return len(self.lengths)

    @overload
    def __getitem__(self, place: int) -> Encoded: ...
    @overload
    def __getitem__(self, place: slice) -> list[Encoded]: ...
    def __getitem__(self, place: int | slice) -> Encoded | list[Encoded]:
        if isinstance(place, slice):
            return [self[i] for i in range(*place.indices(len(self)))]
        if place < 0:
            place += len(self)
        if not 0 <= place < len(self):
            raise IndexError(place)
        end = self._ends[place]
        start = end - self.lengths[place]
        ids, trained = self._ids[start:end].tolist(), self._trained[start:end].tolist()
        return Encoded(tuple(ids), tuple(map(bool, trained)), bool(self._cut[place]))


def open_tokens(path: Path) -> Tokens:
    """The examples in a file that `TokenWriter` made. Raises `OSError`, `SafetensorError` or `KeyError` for any other."""
    with safe_open(path, framework="np") as file:
        is_large = file.get_slice("ids").get_shape()[0] > MOST_TOKENS_IN_MEMORY
        get = file.get_slice if is_large else file.get_tensor
        parts = {name: get(name) for name in ("ids", "trained")}
        lengths, cut = file.get_tensor("lengths").tolist(), file.get_tensor("cut").tolist()
        return Tokens(parts["ids"], parts["trained"], array("q", lengths), bytes(cut), file.metadata() or {})


class TokenWriter:
    """Takes examples one by one; beyond `MOST_TOKENS_IN_MEMORY` tokens they go to files beside the one to be made."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._held: dict[str, array[int]] = {name: array(letter) for name, _, letter in _PARTS}
        self._files: dict[str, OwnedFile] = {}

    def add(self, example: Encoded) -> None:
        """Put one at the end. Raises `OSError` when the disk is full."""
        held = self._held
        held["ids"].extend(example.ids)
        held["trained"].extend(example.trained)
        held["lengths"].append(len(example.ids))
        held["cut"].append(example.cut)
        if len(held["ids"]) >= MOST_TOKENS_IN_MEMORY:
            self._flush()

    def _flush(self) -> None:
        for name in ("ids", "trained"):
            if name not in self._files:
                self._files[name] = unnamed_file(self._folder)
            self._held[name].tofile(self._files[name])
            self._held[name] = array(self._held[name].typecode)

    def finish(self, path: Path, metadata: Mapping[str, str]) -> Tokens:
        """Write the file and open it. A disk that cannot be written leaves them in memory, if they are still there."""
        try:
            self._write(path, metadata)
        except OSError:
            if self._files:
                raise
            return self._in_memory(metadata)
        return open_tokens(path)

    def _in_memory(self, metadata: Mapping[str, str]) -> Tokens:
        held = self._held
        return Tokens(held["ids"], held["trained"], held["lengths"], held["cut"], metadata)

    def _write(self, path: Path, metadata: Mapping[str, str]) -> None:
        """Whole or not at all, and for its owner's eyes alone."""
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        beside = path.with_suffix(f".{os.getpid()}")
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(self._header(metadata))
                for name, _, _ in _PARTS:
                    if name in self._files:
                        self._files[name].seek(0)
                        shutil.copyfileobj(self._files[name], file, 2**20)
                    self._held[name].tofile(file)
            os.replace(beside, path)
        finally:
            with contextlib.suppress(OSError):
                beside.unlink(missing_ok=True)

    def _header(self, metadata: Mapping[str, str]) -> bytes:
        """Of the safetensors format (https://github.com/huggingface/safetensors#format)."""
        described: dict[str, Any] = {"__metadata__": dict(metadata)}
        place = 0
        for name, dtype, _ in _PARTS:
            size = self._held[name].itemsize
            count = len(self._held[name]) + (self._files[name].tell() // size if name in self._files else 0)
            described[name] = {"dtype": dtype, "shape": [count], "data_offsets": [place, place + count * size]}
            place += count * size
        text = json.dumps(described).encode()
        text += b" " * (-len(text) % 8)
        return len(text).to_bytes(8, "little") + text
