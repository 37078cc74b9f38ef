"""Weight files as data: which there are, and what their headers say. No tensor is read, nothing but
safetensors is opened.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from math import prod
from pathlib import Path
from typing import Any

from ..disk.json_file import read_object, shown
from ..errors import ModelError, first_line
from ..message import Message, say

# Files by which transformers and peft find weights.
WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
SHARD = re.compile(r"\w[\w.-]*\.safetensors")
MAX_HEADER_BYTES = 100 * 10**6  # the safetensors library's own limit
# Bits of a number, as the safetensors library counts them (its Dtype::bitsize)
_BITS = {
    "F4": 4,
    "F6_E2M3": 6,
    "F6_E3M2": 6,
    "BOOL": 8,
    "U8": 8,
    "I8": 8,
    "F8_E5M2": 8,
    "F8_E4M3": 8,
    "F8_E8M0": 8,
}
_BITS |= {
    "F8_E4M3FNUZ": 8,
    "F8_E5M2FNUZ": 8,
    "I16": 16,
    "U16": 16,
    "F16": 16,
    "BF16": 16,
    "I32": 32,
    "U32": 32,
    "F32": 32,
}
_BITS |= {"I64": 64, "U64": 64, "F64": 64, "C64": 64}
OTHER_FORMATS = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".gguf", ".h5", ".msgpack", ".onnx")
NOT_PARAMETERS = re.compile(
    r"\.(masked_bias|inv_freq|absmax|quant_map|nested_absmax|nested_quant_map|SCB|weight_format|scales|qzeros|g_idx)$"
    r"|_scale(_inv)?$|quant_state\."
)
OUTPUT_MATRIX = re.compile(r"(^|\.)(lm_head|embed_out)\.weight$")
Header = Mapping[str, tuple[str, list[int]]]  # tensor → dtype and sizes


def weight_files(folder: Path) -> tuple[Path, ...]:
    """Return the safetensors files that transformers would load. Raises `ModelError` when they are not all in
    the folder.
    """
    if (folder / WEIGHTS).is_file():
        return (folder / WEIGHTS,)
    if not (folder / INDEX).is_file():
        raise no_safetensors(str(folder), [path.name for path in folder.iterdir()])
    weight_map = read_object(folder / INDEX).get("weight_map")
    names = sorted(set(map(str, weight_map.values()))) if isinstance(weight_map, dict) else []
    if not names:
        raise refused(say("The list of weight files is empty."), say("{file}", file=str(folder / INDEX)))
    for name in names:
        if not SHARD.fullmatch(name):  # transformers would unpickle a .bin, and read outside the folder
            seen = say("{file} refers to {value}", file=str(folder / INDEX), value=shown(name))
            raise refused(
                say("This model refers to weights that are not safetensors files in its own folder."), seen
            )
    num_found = sum((folder / name).is_file() for name in names)
    for name in names:
        if not (folder / name).is_file():
            raise ModelError(
                say("A weight file of this model is missing: {name}", name=name),
                seen=say(
                    "{folder} contains {found} of {all} files",
                    folder=str(folder),
                    found=num_found,
                    all=len(names),
                ),
                fix=say("Download or copy the model again."),
            )
    return tuple(folder / name for name in names)


def no_safetensors(source: str, names: Iterable[str]) -> ModelError:
    """Return the error for a model or adapter without safetensors, telling whether other formats are
    there.
    """
    others = sorted(name for name in names if name.endswith(OTHER_FORMATS))
    if not others:
        seen = say("{source} has neither {one} nor {index}", source=source, one=WEIGHTS, index=INDEX)
        return refused(say("There are no weights in this model."), seen)
    return ModelError(
        say(
            "This model has no safetensors weights, and nuguna loads nothing else: older formats can hide "
            "programs."
        ),
        seen=say("{source} has {names}", source=source, names=", ".join(others[:3])),
        fix=say(
            "Choose another model, or convert it first: https://huggingface.co/spaces/safetensors/convert"
        ),
    )


def count_parameters(headers: Iterable[Header], *, tied: bool) -> int:
    """Add up the tensors in the headers, without buffers and without a second copy of a tied output
    matrix.
    """
    total = 0
    for header in headers:
        for name, (dtype, sizes) in header.items():
            is_mask = name.endswith(".bias") and len(sizes) == 4  # GPT-2 and GPT-NeoX store their causal mask
            if is_mask or NOT_PARAMETERS.search(name) or (tied and OUTPUT_MATRIX.search(name)):
                continue
            # 4-bit weights lie two in a byte (bitsandbytes) or eight in an int32 (GPTQ, AWQ).
            total += prod(sizes) * {"U8": 2, "I32": 8}.get(dtype, 1)
    return total


def read_header(path: Path) -> Header:
    """Read dtype and sizes of each tensor: 8 bytes little-endian length, then JSON (safetensors format
    description).

    Holds the format to its word, as the library does later: tensors lie one after the other, none twice, none
    outside, and the file ends where the last one does. Raises `ModelError`.
    """
    try:
        num_bytes = path.stat().st_size
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if not 2 <= length <= min(MAX_HEADER_BYTES, num_bytes - 8):
                raise ValueError(f"header of {length} bytes in a file of {num_bytes} bytes")
            text = file.read(length)
        if not text.startswith(b"{"):
            raise ValueError("the header is not a JSON object")
        header = json.loads(text)
        header.pop("__metadata__", None)
        _check_places(header, num_bytes - 8 - length)
        return {name: (entry["dtype"], entry["shape"]) for name, entry in header.items()}
    except (OSError, ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError) as error:
        raise ModelError(
            say("A weight file is damaged or was not downloaded completely."),
            seen=say("{file}: {detail}", file=str(path), detail=first_line(error)),
            fix=say("Download or copy the model again."),
        ) from error


def _check_places(header: dict[str, Any], num_bytes: int) -> None:
    end = 0
    places = ((*entry["data_offsets"], name, entry) for name, entry in header.items())
    for start, stop, name, entry in sorted(places, key=lambda place: place[:2]):
        sizes, dtype = entry["shape"], entry["dtype"]
        if not all(type(number) is int and number >= 0 for number in (start, stop, *sizes)) or not isinstance(
            dtype, str
        ):
            raise ValueError(f"{shown(name)} has no sizes")
        if start != end or stop < start:
            raise ValueError(f"{shown(name)} lies at bytes {start} to {stop}, where {end} is the next")
        if dtype in _BITS and (stop - start) * 8 != prod(sizes) * _BITS[dtype]:
            raise ValueError(f"{shown(name)} has {stop - start} bytes for sizes of {shown(sizes)} in {dtype}")
        end = stop
    if end != num_bytes:
        raise ValueError(f"{num_bytes} bytes of tensors, of which the header names {end}")


def refused(what: Message, seen: Message) -> ModelError:
    """Return the error for a model that is not opened."""
    return ModelError(what, seen=seen, fix=say("Choose another model, for example MODEL=demo"))
