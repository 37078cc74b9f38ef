"""Encoded examples of any number, in memory or in a file of which the system reads what is asked for (memory
mapping).

Both are in Arrow's format, and an example is a slice of its arrays:
https://arrow.apache.org/docs/format/Columnar.html#ipc-file-format
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import IO, Any, overload

import numpy as np
from numpy.typing import NDArray

from ..disk.cache_folder import OwnedFile, unnamed_file
from .encode import Encoded

MAX_TOKENS_IN_MEMORY = 16_000_000  # beyond that they go to a file at once
_BYTES_A_TOKEN = 5  # four of its id, one of the mask
NUM_TOGETHER = 8192  # examples of a record batch
# offsets, ids, loss_mask, cut
_Columns = tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.bool_], NDArray[np.uint8]]


@lru_cache(maxsize=1)
def _schema() -> Any:
    """Return the columns of the file. pyarrow takes 26 MiB, which answering and measuring do without."""
    import pyarrow as pa

    return pa.schema(
        {"ids": pa.large_list(pa.int32()), "loss_mask": pa.large_list(pa.uint8()), "cut": pa.uint8()}
    )


class Tokens(Sequence[Encoded]):
    """Examples, as slices of the arrays in which all of them lie."""

    def __init__(self, batches: Sequence[Any], metadata: Mapping[str, str]) -> None:
        self._batches = [_columns(batch) for batch in batches]
        self._num_examples = sum(map(len, batches))
        self.metadata = metadata
        if any(len(batch) != NUM_TOGETHER for batch in batches[:-1]):
            raise ValueError("record batches of another program")

    def __len__(self) -> int:
        return self._num_examples

    @property
    def max_length(self) -> int:
        """Tokens of the longest example."""
        return max(
            (int(np.diff(offsets).max()) for offsets, *_ in self._batches if len(offsets) > 1), default=0
        )

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
        number, row = divmod(place, NUM_TOGETHER)
        offsets, ids, loss_mask, cut = self._batches[number]
        start, stop = offsets[row], offsets[row + 1]
        return Encoded(ids[start:stop], loss_mask[start:stop], bool(cut[row]))


def _columns(batch: Any) -> _Columns:
    """Return the columns of a record batch as arrays that share its memory. Raise `ValueError` if it is not
    sound.
    """
    batch.validate()
    ids, loss_mask, cut = batch.columns
    offsets = ids.offsets.to_numpy()
    if not np.array_equal(offsets, loss_mask.offsets.to_numpy()):
        raise ValueError("tokens and loss mask differ in length")
    return offsets, ids.values.to_numpy(), loss_mask.values.to_numpy().view(np.bool_), cut.to_numpy()


def open_tokens(path: Path) -> Tokens:
    """Return the examples in a file that `TokenWriter` made. Raise `OSError` or `ValueError` for any
    other.
    """
    import pyarrow as pa

    is_large = path.stat().st_size > MAX_TOKENS_IN_MEMORY * _BYTES_A_TOKEN
    reader = pa.ipc.open_file(pa.memory_map(str(path)) if is_large else pa.BufferReader(path.read_bytes()))
    if reader.schema != _schema() or not reader.num_record_batches:
        raise ValueError("columns of another program")
    batches = [reader.get_batch_with_custom_metadata(i) for i in range(reader.num_record_batches)]
    metadata = {
        key.decode(): value.decode() for key, value in dict(batches[-1].custom_metadata or {}).items()
    }
    return Tokens([batch.batch for batch in batches], metadata)


class TokenWriter:
    """Takes examples one by one; beyond `MAX_TOKENS_IN_MEMORY` tokens they go to a file beside the one to be
    made.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._examples: list[Encoded] = []  # of the next record batch
        self._batches: list[Any] = []
        self._num_tokens = 0  # in `_batches`
        self._file: OwnedFile | None = None
        self._writer: Any = None

    def add(self, example: Encoded) -> None:
        """Put one at the end. Raise `OSError` when the disk is full."""
        if len(self._examples) == NUM_TOGETHER:
            self._batches.append(self._batch())
            if self._num_tokens > MAX_TOKENS_IN_MEMORY:
                self._flush()
        self._examples.append(example)
        self._num_tokens += len(example.ids)

    def _batch(self) -> Any:
        """Return a record batch of the examples that wait for one."""
        import pyarrow as pa

        some, self._examples = self._examples, []
        offsets = np.cumsum([0, *(len(e.ids) for e in some)])
        ids = np.concatenate([np.empty(0, dtype=np.int32), *(e.ids for e in some)])
        loss_mask = np.concatenate([np.empty(0, dtype=np.bool_), *(e.loss_mask for e in some)]).view(np.uint8)
        lists = [pa.LargeListArray.from_arrays(offsets, pa.array(values)) for values in (ids, loss_mask)]
        cut = pa.array([e.cut for e in some], type=pa.bool_()).cast(pa.uint8())
        return pa.record_batch([*lists, cut], schema=_schema())

    def _flush(self) -> None:
        import pyarrow as pa

        if self._file is None:
            self._file = unnamed_file(self._folder)
            self._writer = pa.ipc.new_file(self._file, _schema())
        for batch in self._batches:
            self._writer.write_batch(batch)
        self._batches, self._num_tokens = [], 0

    def finish(self, path: Path, metadata: Mapping[str, str]) -> Tokens:
        """Write the file and open it. A disk that cannot be written leaves the examples in memory, if they
        are still there.
        """
        self._batches.append(self._batch())
        try:
            self._write(path, metadata)
        except OSError:
            if self._file is not None:
                raise
            return Tokens(self._batches, metadata)
        return open_tokens(path)

    def _write(self, path: Path, metadata: Mapping[str, str]) -> None:
        """Write it whole or not at all, and for its owner's eyes alone."""
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        beside = path.with_suffix(f".{os.getpid()}")
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as file:
                self._end(file, metadata)
            os.replace(beside, path)
        finally:
            with contextlib.suppress(OSError):
                beside.unlink(missing_ok=True)

    def _end(self, file: IO[bytes], metadata: Mapping[str, str]) -> None:
        import pyarrow as pa

        writer = self._writer or pa.ipc.new_file(file, _schema())
        *others, last = self._batches
        for batch in others:
            writer.write_batch(batch)
        writer.write_batch(last, custom_metadata=dict(metadata))  # only now are they known
        writer.close()
        if self._file is not None:
            self._file.seek(0)
            shutil.copyfileobj(self._file, file, 2**20)
