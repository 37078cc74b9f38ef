"""The one way to ask the hub: what there is, bringing it into the local cache, and explaining what goes
wrong.

Nothing is printed, and no message holds a token. huggingface_hub is imported inside the functions, which
keeps `--help` fast.
"""

from __future__ import annotations

import errno
import json
import logging
import shutil
import threading
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ..errors import DataError, EnvironmentFault, ModelError
from ..message import Message, say
from ..text.units import format_bytes

SPARE_DISK = 1.1  # of the download: a full disk stops more than this program
API_TIMEOUT_SECONDS = 20.0
POLL_SECONDS = 0.5
REFUSALS = (401, 403, 404)  # the hub answered, and the answer is no


@dataclass(frozen=True)
class Repository:
    """A model or a dataset on the hub."""

    name: str
    kind: Literal["model", "dataset"] = "model"

    @property
    def address(self) -> str:
        from huggingface_hub import constants

        return f"{constants.ENDPOINT}/{'datasets/' if self.kind == 'dataset' else ''}{self.name}"

    @property
    def blobs(self) -> Path:
        """The folder of the cache in which its files lie under the names of `File.blob`."""
        from huggingface_hub import constants
        from huggingface_hub.file_download import repo_folder_name

        folder = repo_folder_name(repo_id=self.name, repo_type=self.kind)
        return Path(constants.HF_HUB_CACHE) / folder / "blobs"


@dataclass(frozen=True)
class File:
    """One file of a repository."""

    name: str
    num_bytes: int
    blob: str  # its name in the cache: the SHA-256 of a large file, the git hash of a small one


@contextmanager
def asking(repository: Repository) -> Iterator[None]:
    """Keep the library silent meanwhile, and explain what it raises.

    Raise `ModelError` or `DataError`, by the kind of the repository, or `EnvironmentFault` where nothing can
    be written.
    """
    with _silence():
        try:
            yield
        except network_errors() as error:
            raise _explained(error, repository) from error


def ask(repository: Repository, revision: str | None = None) -> Any:
    """Return what the hub says of a repository: the library's `ModelInfo` or `DatasetInfo`."""
    from huggingface_hub import HfApi

    options: dict[str, Any] = {"files_metadata": True, "timeout": API_TIMEOUT_SECONDS}
    return HfApi().repo_info(repository.name, repo_type=repository.kind, revision=revision, **options)


def files_of(info: Any) -> list[File]:
    """Return all files that the hub's answer lists."""
    siblings = info.siblings or ()
    return [File(s.rfilename, s.size or 0, (s.lfs.sha256 if s.lfs else s.blob_id) or "") for s in siblings]


def download(
    repository: Repository,
    files: Sequence[File],
    *,
    commit: str | None,
    branch: str | None,
    on_progress: Callable[[int, int], None] = lambda done_bytes, total_bytes: None,
) -> list[Path]:
    """Bring the files of a commit into the cache, as far as they are not there, and return where they lie.

    `on_progress(done_bytes, total_bytes)` is called about twice a second from another thread, and a last time
    when all is done. One file comes after the other, in this thread: `snapshot_download` has threads of its
    own, which a Ctrl-C would wait for until gigabytes have come. Raise `EnvironmentFault` when the disk is
    too small, before anything is downloaded.
    """
    from huggingface_hub import hf_hub_download

    _require_room(repository, files)
    name, kind = repository.name, repository.kind
    paths: list[Path] = []
    with _polling(repository.blobs, files, on_progress):
        for file in reversed(files):
            paths.append(Path(hf_hub_download(name, file.name, repo_type=kind, revision=commit)))
        # Only now the branch's name leads to this commit in the cache, so that a first download which was cut
        # off is never taken for a whole one. Of a later one the files that come first in order are missing.
        hf_hub_download(name, files[0].name, repo_type=kind, revision=branch)
    total = sum(file.num_bytes for file in files)
    on_progress(total, total)
    return paths[::-1]


def is_reachable(timeout_seconds: float = 3.0) -> bool:
    """Return whether the hub (or HF_ENDPOINT) answers now. False at once when HF_HUB_OFFLINE is set."""
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        return False
    answers: list[bool] = []

    def request_head() -> None:
        request = urllib.request.Request(constants.ENDPOINT, method="HEAD")  # noqa: S310 - the user's own setting
        try:
            with urllib.request.urlopen(request, timeout=timeout_seconds):  # noqa: S310
                answers.append(True)
        except urllib.error.HTTPError as error:
            # the hub or a mirror, in a mood; not a proxy's refusal
            answers.append(error.code in (401, 404, 405, 429))
            error.close()
        except (OSError, ValueError):
            answers.append(False)

    # In a thread, because no timeout covers a name server that does not answer.
    thread = threading.Thread(target=request_head, daemon=True)
    thread.start()
    thread.join(timeout_seconds)
    return answers == [True]


def free_cache_bytes() -> int:
    """Free space on the disk of the hub's cache, which may be another one than that of the run."""
    from huggingface_hub import constants

    folder = Path(constants.HF_HUB_CACHE).absolute()
    return shutil.disk_usage(next(place for place in (folder, *folder.parents) if place.exists())).free


# Room and progress


def _require_room(repository: Repository, files: Sequence[File]) -> None:
    blobs = repository.blobs
    needed = int(SPARE_DISK * sum(file.num_bytes for file in files if not (blobs / file.blob).is_file()))
    free = free_cache_bytes()
    if needed > free:
        amounts = {"needed": format_bytes(needed), "free": format_bytes(free)}
        raise EnvironmentFault(
            say("The disk is too full for the {kind} {name}.", kind=_word(repository), name=repository.name),
            seen=say("Needed: {needed} (the download plus a tenth to spare). Free: {free}", **amounts),
            fix=say(
                "Free some space, set HF_HOME to a folder on a larger disk, or choose something smaller."
            ),
        )


@contextmanager
def _polling(blobs: Path, files: Sequence[File], on_progress: Callable[[int, int], None]) -> Iterator[None]:
    """Report the growth of the files on disk while the body runs, whatever way the library downloads them.

    huggingface-hub 1.0, the oldest that is allowed, takes no `tqdm_class` for the download of a single file.
    """
    total = sum(file.num_bytes for file in files)
    sizes = {file.blob: file.num_bytes for file in files}
    abandoned = {path.name for path in blobs.glob("*.incomplete")}  # of a run that was killed; not continued
    finished = threading.Event()

    def report() -> None:
        while not finished.wait(POLL_SECONDS):
            done = 0
            for path in blobs.glob("*"):
                blob = path.name.split(".")[0]
                if blob in sizes and path.name not in abandoned:
                    try:
                        done += min(path.stat().st_size, sizes[blob])
                    except OSError:  # just renamed to its final name; counted the next time
                        continue
            on_progress(min(done, total), total)

    thread = threading.Thread(target=report, daemon=True)
    thread.start()
    try:
        yield
    finally:
        finished.set()
        thread.join()


# The library's noise and its errors


@contextmanager
def _silence() -> Iterator[None]:
    from huggingface_hub import constants
    from huggingface_hub.utils.logging import get_verbosity, set_verbosity
    from huggingface_hub.utils.tqdm import (
        are_progress_bars_disabled,
        disable_progress_bars,
        enable_progress_bars,
    )

    level = get_verbosity()
    set_verbosity(logging.ERROR)
    # The variable HF_HUB_DISABLE_PROGRESS_BARS overrules the functions, which then only warn.
    hides_bars = constants.HF_HUB_DISABLE_PROGRESS_BARS is None and not are_progress_bars_disabled()
    if hides_bars:
        disable_progress_bars()
    try:
        yield
    finally:
        set_verbosity(level)
        if hides_bars:
            enable_progress_bars()


def network_errors() -> tuple[type[Exception], ...]:
    """Return what the library raises where the hub gives nothing, or the disk takes nothing."""
    from huggingface_hub.errors import HfHubHTTPError

    # Errors of the HTTP library are no OSErrors. Which library it is depends on the hub version; its base
    # class is in this list.
    network = (
        base
        for base in HfHubHTTPError.__mro__
        if base.__name__ == "HTTPError" and issubclass(base, Exception)
    )
    return OSError, json.JSONDecodeError, *network  # not JSON: some gateway answered instead of the hub


def status_of(error: BaseException) -> int | None:
    """Return the HTTP status by which the hub refused, or None where none came."""
    from huggingface_hub.errors import HfHubHTTPError

    cause = _cause(error)
    return cause.response.status_code if isinstance(cause, HfHubHTTPError) else None


def _cause(error: BaseException) -> BaseException:
    """Return what is behind an error: a file that was refused or did not come is told as "not in the
    cache".
    """
    from huggingface_hub.errors import LocalEntryNotFoundError

    return error.__cause__ or error if isinstance(error, LocalEntryNotFoundError) else error


def _word(repository: Repository) -> Message:
    return say("dataset") if repository.kind == "dataset" else say("model")


def _explained(error: BaseException, repository: Repository) -> ModelError | DataError | EnvironmentFault:
    """Return the cause in our words. The library's own texts are left out: they run over many lines."""
    from huggingface_hub import errors

    cause, status, address = _cause(error), status_of(error), repository.address
    subject: dict[str, Any] = {"kind": _word(repository), "name": repository.name}
    if isinstance(cause, OSError) and cause.errno in (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS):
        return EnvironmentFault(
            say("The {kind} {name} could not be written to the disk.", **subject),
            seen=say("{problem}", problem=cause.strerror),
            fix=say("Free some space, or set HF_HOME to a folder that can be written to."),
        )
    if isinstance(cause, errors.GatedRepoError):
        what = say("The {kind} {name} is only available to people who accept its terms.", **subject)
        seen = say("{address} refused the download.", address=address)
        fix = say(
            "Accept the terms at {address}, then type: hf auth login   (or set HF_TOKEN)", address=address
        )
    elif isinstance(cause, (errors.RepositoryNotFoundError, errors.RevisionNotFoundError)):
        what = say("There is no {kind} {name} on the hub, or it is private.", **subject)
        seen = say("{address} was not found.", address=address)
        fix = say("Check the spelling of the name. If it is private, type: hf auth login   (or set HF_TOKEN)")
    elif status in (401, 403):
        what = say("The hub does not let you read the {kind} {name}.", **subject)
        seen = say("{address} answered with HTTP {status}.", address=address, status=status)
        fix = say("Type: hf auth login   (or set HF_TOKEN to a valid token)")
    else:
        what, problem, first = _no_answer(cause, status, repository.name)
        seen = say("{address}: {problem}", address=address, problem=problem)
        instead = say("use MODEL=demo or a folder")
        if repository.kind == "dataset":
            instead = say("use DATASET=demo or a file of your own")
        fix = say(
            "{first} and try again (finished files are kept), or {instead}.", first=first, instead=instead
        )
    return (DataError if repository.kind == "dataset" else ModelError)(what, seen=seen, fix=fix)


def _no_answer(cause: BaseException, status: int | None, name: str) -> tuple[Message, str | Message, Message]:
    """Return what happened, what was seen, and what to do first, where the hub neither gave nor refused
    anything.
    """
    from huggingface_hub import constants

    what = say(
        "The hub cannot be reached, and {name} is not, or not completely, in the local cache.", name=name
    )
    kinds = {base.__name__ for base in type(cause).__mro__}  # of whichever HTTP library it is
    if constants.HF_HUB_OFFLINE:
        return what, "HF_HUB_OFFLINE", say("Connect to the internet without HF_HUB_OFFLINE")
    if status == 407 or "ProxyError" in kinds:
        return (
            what,
            f"HTTP {status}" if status else "ProxyError",
            say("Correct the proxy settings of this network (HTTPS_PROXY)"),
        )
    if isinstance(cause, json.JSONDecodeError):
        return what, say("something other than the hub answered"), say("Log in to this network in a browser")
    if status:
        what = say(
            "The hub is refusing requests just now, and {name} is not, or not completely, in the local "
            "cache.",
            name=name,
        )
        return what, f"HTTP {status}", say("Wait a few minutes")
    if kinds & {"TimeoutException", "Timeout", "TimeoutError"}:
        return what, say("no answer in time"), say("Wait a few minutes, check your connection")
    return what, type(cause).__name__, say("Connect to the internet")
