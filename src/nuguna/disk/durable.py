"""Files and folders that a crash, a full disk or a power cut leaves whole or not there at all.

Data reaches the disk before the name that promises it: the file is written and synced, then renamed, then the
folder is synced (Pillai et al., All File Systems Are Not Created Equal, OSDI 2014). Every operation is one
call of `os`.
"""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from pathlib import Path

PIECE_BYTES = 4 * 2**20  # written at once


def write_new(path: Path, data: bytes | memoryview) -> None:
    """Write a file that is not there yet, to the last byte and onto the disk. Raises `OSError`; then it is
    not whole.
    """
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o666)
    try:
        left = memoryview(data)
        while len(left):
            left = left[os.write(handle, left[:PIECE_BYTES]) :]  # the system may take a part only
        os.fsync(handle)
        if os.fstat(handle).st_size != len(data):
            raise OSError(f"{path.name} is shorter than what was written")
    finally:
        os.close(handle)


def write_over(path: Path, data: bytes) -> None:
    """Put a file in the place of another; whatever happens, the old or the new one is there, whole. Raises
    `OSError`.
    """
    draft = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with suppress(FileNotFoundError):
            os.unlink(draft)
        write_new(draft, data)
        rename(draft, path)
    except OSError:
        with suppress(OSError):
            os.unlink(draft)
        raise


def rename(source: Path, target: Path) -> None:
    """Rename a file or folder whose content is on the disk, and see that the new name is too."""
    os.replace(source, target)
    sync_folder(target.parent)


def sync_file(path: Path) -> None:
    """See that a file's content is on the disk."""
    handle = os.open(path, os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sync_folder(folder: Path) -> None:
    """See that the names in a folder are on the disk. Where folders cannot be opened (Windows) the system
    does it alone.
    """
    if not hasattr(os, "O_DIRECTORY"):
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):  # some file systems cannot sync folders
            os.fsync(handle)
    finally:
        os.close(handle)


def remove_folder(folder: Path) -> None:
    """Take away a folder. One that is half removed has a name that nobody takes for a whole one; what cannot
    go stays.
    """
    # what is left over of a killed process is known as such (`is_ours`)
    grave = folder.with_name(f".old-{folder.name}.tmp")
    with suppress(OSError):
        if not folder.name.startswith("."):
            shutil.rmtree(grave, ignore_errors=True)
            os.replace(folder, grave)
            folder = grave
    shutil.rmtree(folder, ignore_errors=True)
