"""What this process asks of threads, memory and other libraries, said before torch is loaded: torch is not
imported here.
"""

from __future__ import annotations

import ctypes
import logging
import os
import sys

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # glibc, malloc.h
KEPT_BYTES = 2**31 - 1  # the largest that mallopt takes
# torch keeps a oneDNN kernel for each shape of a product, and every row of another length brings about 85. A
# step needs those of its own rows alone: keeping 1,024, as is the default, costs 250 MiB and saves no time
# (docs/log.md).
KEPT_KERNELS = 64


def prepare() -> None:
    """Set up threads, memory and silence for training; a user's own settings win."""
    share_cores()
    keep_memory()
    os.environ.setdefault("LRU_CACHE_CAPACITY", str(KEPT_KERNELS))
    # without it cuBLAS may add in another order each time (CUDA's documentation, "Results reproducibility");
    # it costs 32 MiB
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    # it complains when it is loaded, which peft does in any case, and at every call of a layer, hundreds of
    # times a step
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)


def share_cores() -> None:
    """Let a thread that waits spin only shortly before it sleeps, unless the user chose otherwise.

    By default libgomp's threads spin long, and keep the core from the very thread they wait for as soon as
    another program runs: two trainings at once on two cores ran at under 80 tokens/s each. Never spinning
    costs a fifth of the speed of a run alone, this middle way about a twentieth (docs/log.md). Other OpenMP
    libraries ignore it.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "10000")


def keep_memory() -> bool:
    """Let the process keep freed memory for its next step instead of giving it back to the system. Returns
    whether it does.

    A step frees all activations at its end. By default glibc returns them, and the system fills every page
    with zeros again in the next step: 1.75 s instead of 1.26 s a step were measured (docs/log.md). Only glibc
    knows the call.
    """
    is_chosen = "GLIBC_TUNABLES" in os.environ or any(name.startswith("MALLOC_") for name in os.environ)
    if is_chosen or not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # musl has none
    return mallopt is not None and all(
        [mallopt(M_MMAP_THRESHOLD, 2**30), mallopt(M_TRIM_THRESHOLD, KEPT_BYTES)]
    )
