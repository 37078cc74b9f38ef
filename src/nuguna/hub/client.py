"""The one way to ask the hub, and the one explanation of its errors."""

from __future__ import annotations

import json
import logging
import shutil
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SPARE_DISK = 1.1  # of the download: a full disk stops more than this program
API_TIMEOUT_SECONDS = 20.0


@contextmanager
def quiet_library() -> Iterator[None]:
    """Keep the library from writing on the terminal meanwhile."""
    from huggingface_hub import constants
    from huggingface_hub.utils.logging import get_verbosity, set_verbosity
    from huggingface_hub.utils.tqdm import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

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
    from huggingface_hub.errors import HfHubHTTPError

    # Errors of the HTTP library are no OSErrors. Which library it is depends on the hub version; its base class is in this list.
    network = (base for base in HfHubHTTPError.__mro__ if base.__name__ == "HTTPError" and issubclass(base, Exception))
    return OSError, json.JSONDecodeError, *network  # not JSON: some gateway answered instead of the hub


def status_of(error: BaseException) -> int | None:
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    # hf_hub_download tells of a file that was refused as of one that is not in the cache.
    cause = error.__cause__ if isinstance(error, LocalEntryNotFoundError) else error
    return cause.response.status_code if isinstance(cause, HfHubHTTPError) else None


def is_reachable(timeout_seconds: float = 3.0) -> bool:
    """Whether the hub (or HF_ENDPOINT) answers now. False at once when HF_HUB_OFFLINE is set."""
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        return False
    answers: list[bool] = []

    def ask() -> None:
        request = urllib.request.Request(constants.ENDPOINT, method="HEAD")  # noqa: S310 - the user's own setting
        try:
            with urllib.request.urlopen(request, timeout=timeout_seconds):  # noqa: S310
                answers.append(True)
        except urllib.error.HTTPError as error:
            answers.append(error.code in (401, 404, 405, 429))  # the hub or a mirror, in a mood; not a proxy's refusal
            error.close()
        except (OSError, ValueError):
            answers.append(False)

    # In a thread, because no timeout covers a name server that does not answer.
    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(timeout_seconds)
    return answers == [True]


def free_cache_bytes() -> int:
    """Free space on the disk of the hub's cache, which may be another one than that of the run."""
    from huggingface_hub import constants

    folder = Path(constants.HF_HUB_CACHE).absolute()
    return shutil.disk_usage(next(place for place in (folder, *folder.parents) if place.exists())).free
