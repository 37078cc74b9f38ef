"""Ask the machine: what the operating system, the container and torch say, without any judgement.

`Machine` is the seam: `hardware.detect` sees the world only through it, so a test describes other people's
machines as values. `this_machine` fills it in for real. What follows from the answers is decided in
`hardware`.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import time
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import psutil

from ..errors import EnvironmentFault
from ..message import say

T = TypeVar("T")

LONGEST_WAIT_SECONDS = 0.5  # for a measurement of 0.05 s, while other programs hold the processor
COMMAND_TIMEOUT_SECONDS = 10  # nvidia-smi needs 3 to 5 s to wake a driver that no program has open


@dataclass(frozen=True, kw_only=True)
class Gpu:
    """One CUDA GPU as torch sees it."""

    name: str
    capability: tuple[int, int]  # compute capability, (9, 0) for an H100
    free_memory_bytes: int
    has_kernels: bool  # whether this torch build was compiled for it


@dataclass(frozen=True, kw_only=True)
class TorchFacts:
    """What the installed torch is built for and what it can reach."""

    cuda_build: str | None  # the CUDA version it was compiled with; None for a CPU or Mac build
    gpus: tuple[Gpu, ...]  # empty when CUDA cannot be used
    mps_available: bool
    mps_memory_bytes: int  # Metal's recommended working set; 0 without MPS


@dataclass(frozen=True, kw_only=True)
class ProductTimes:
    """Best times of the same matrix products in two precisions, in seconds."""

    float32_seconds: float
    bfloat16_seconds: float


@dataclass(frozen=True, kw_only=True)
class Machine:
    """Everything we ask a machine. The callables answer None where the thing asked for does not exist or
    fails.
    """

    system: str  # Linux, Darwin, Windows
    architecture: str  # x86_64, arm64, aarch64, AMD64
    processor: str  # the operating system's word for the CPU, may be empty
    total_memory_bytes: int
    available_memory_bytes: int
    address_space_left_bytes: int | None  # under RLIMIT_AS (ulimit -v); None without a limit
    allowed_cpus: frozenset[int] | None  # logical CPUs of this process; None where the system has no affinity
    num_physical_cores: int
    free_disk_bytes: int
    visible_gpus: str | None  # CUDA_VISIBLE_DEVICES
    torch: TorchFacts | None  # None when it cannot be imported
    torch_error: str
    read_file: Callable[[str], str | None]
    run_command: Callable[[Sequence[str]], str | None]
    time_products: Callable[[], ProductTimes]
    product_rate: Callable[[str, str], float | None]  # of a device and a dtype, as `product_rate` below


def this_machine(folder: Path) -> Machine:
    """Describe the machine we run on. `free_disk_bytes` is of `folder`'s file system; the folder need not
    exist yet.

    Raises `EnvironmentFault` when CUDA is there but does not answer.
    """
    absolute = Path(os.path.abspath(folder))
    # os.path.exists, not Path.exists: a folder above that may not be entered is no reason to fail here.
    existing = next((place for place in (absolute, *absolute.parents) if os.path.exists(place)), Path.cwd())
    try:
        torch_facts, torch_error = _torch_facts(), ""
    except (ImportError, OSError) as error:  # OSError: a shared library of torch is missing or does not load
        torch_facts, torch_error = None, str(error)
    memory = psutil.virtual_memory()
    return Machine(
        system=platform.system(),
        architecture=platform.machine(),
        processor=platform.processor(),
        total_memory_bytes=int(memory.total),
        available_memory_bytes=int(memory.available),
        address_space_left_bytes=_address_space_left(),
        allowed_cpus=frozenset(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None,
        num_physical_cores=int(psutil.cpu_count(logical=False) or os.cpu_count() or 1),
        free_disk_bytes=shutil.disk_usage(existing).free,
        visible_gpus=os.environ.get("CUDA_VISIBLE_DEVICES"),
        torch=torch_facts,
        torch_error=torch_error,
        read_file=_read_file,
        run_command=_run_command,
        time_products=time_products,
        product_rate=product_rate,
    )


def _read_file(path: str) -> str | None:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None


def _run_command(argv: Sequence[str]) -> str | None:
    """Standard output of a command that succeeded; None when it is missing, fails or hangs."""
    try:
        done = subprocess.run(
            argv, capture_output=True, timeout=COMMAND_TIMEOUT_SECONDS, check=True, stdin=subprocess.DEVNULL
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.decode(errors="replace").strip()


def _address_space_left() -> int | None:
    try:
        import resource
    except ImportError:  # Windows
        return None
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    return (
        None if limit == resource.RLIM_INFINITY else max(0, limit - int(psutil.Process().memory_info().vms))
    )


def _torch_facts() -> TorchFacts:
    import torch

    # torch warns about old drivers and GPUs; `hardware` says the same as a problem with its remedy.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            gpus = (
                tuple(_gpu(index) for index in range(torch.cuda.device_count()))
                if torch.cuda.is_available()
                else ()
            )
        except RuntimeError as error:
            raise EnvironmentFault(
                say("There is an NVIDIA GPU, but it cannot be used."),
                seen=say("CUDA reports: {error}", error=str(error).strip().partition("\n")[0]),
                fix=say(
                    "See with nvidia-smi which programs are using it and close them, or use the CPU: "
                    "CUDA_VISIBLE_DEVICES=-1"
                ),
            ) from error
    mps = torch.backends.mps.is_available()
    return TorchFacts(
        cuda_build=torch.version.cuda,
        gpus=gpus,
        mps_available=mps,
        mps_memory_bytes=torch.mps.recommended_max_memory() if mps else 0,
    )


def _gpu(index: int) -> Gpu:
    """Read one GPU. Free memory is read after CUDA has set itself up there (0.3 to 0.6 GB), so it is what
    tensors can have.
    """
    import torch

    capability = torch.cuda.get_device_capability(index)
    return Gpu(
        name=torch.cuda.get_device_name(index),
        capability=capability,
        free_memory_bytes=torch.cuda.mem_get_info(index)[0],
        has_kernels=covers(torch.cuda.get_arch_list(), capability),
    )


def macos_version(machine: Machine) -> tuple[int, ...]:
    """Return (14, 5) on macOS 14.5; empty elsewhere. Not from `platform`: an old Python is told 10.16 for
    compatibility.
    """
    if machine.system != "Darwin":
        return ()
    return tuple(
        int(part) for part in re.findall(r"\d+", machine.run_command(("sw_vers", "-productVersion")) or "")
    )


def covers(architectures: Sequence[str], capability: tuple[int, int]) -> bool:
    """Return whether a torch build for `architectures` (`sm_86`, `compute_90`, …) runs on a GPU of
    `capability`.

    `sm_XY` is machine code: it runs on the same major version from minor Y up. `compute_XY` is PTX, which the
    driver translates for any newer GPU (CUDA C++ Programming Guide, "Application Compatibility").
    """
    known = []
    for architecture in architectures:
        kind, _, number = architecture.partition("_")
        digits = "".join(character for character in number if character.isdigit())  # sm_90a
        if kind in ("sm", "compute") and digits:
            known.append((kind, (int(digits[:-1]), int(digits[-1]))))
    if not known:  # not an NVIDIA build; nothing to compare
        return True
    return any(
        built <= capability and (kind == "compute" or built[0] == capability[0]) for kind, built in known
    )


def time_products() -> ProductTimes:
    """Time the two products that each frozen weight costs in LoRA training, x·Wᵀ and g·W, in float32 and
    bfloat16 on the CPU.

    On one thread: while other programs hold the other cores, each product of many threads waits for the last
    of them, 1 ms becomes 30, and the two precisions look alike (measured). A helper thread gets the limit, so
    the caller's threads keep theirs. About 0.2 s in all.
    """
    return _on_one_thread(_time_both_precisions)


def _on_one_thread(measure: Callable[[], T]) -> T:
    """Return what `measure` gives in a thread in which torch computes on one core only."""

    def limited() -> T:
        import torch

        num_threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            return measure()
        finally:
            torch.set_num_threads(num_threads)  # threads that are started later inherit it

    with ThreadPoolExecutor(max_workers=1) as helper:
        return helper.submit(limited).result()


def _time_both_precisions() -> ProductTimes:
    # Where bfloat16 is emulated, one large product takes 0.15 s (AVX2, measured). A small one settles it
    # sooner.
    small = _time_products_of(num_rows=16, budget_seconds=0.05)
    if small.bfloat16_seconds > 2 * small.float32_seconds:
        return small
    return _time_products_of(num_rows=128, budget_seconds=0.15)


def _time_products_of(*, num_rows: int, budget_seconds: float) -> ProductTimes:
    """Best times over turns of 5 ms, one precision after the other so that other programs disturb both
    alike.
    """
    import torch

    best = {torch.float32: float("inf"), torch.bfloat16: float("inf")}
    # Ones, not random numbers: the time is the same and the caller's random state stays as it was.
    operands = {
        dtype: (torch.ones(num_rows, 1024, dtype=dtype), torch.ones(1024, 1024, dtype=dtype))
        for dtype in best
    }
    begin = time.perf_counter()
    while best[torch.bfloat16] == float("inf") or time.perf_counter() - begin < budget_seconds:
        for dtype, (rows, weight) in operands.items():
            turn, num_products = time.perf_counter(), 0
            # two: the first one compiles kernels
            while num_products < 2 or time.perf_counter() - turn < 0.005:
                start = time.perf_counter()
                torch.nn.functional.linear(rows, weight) @ weight  # (num_rows, 1024) both times
                best[dtype] = min(best[dtype], time.perf_counter() - start)
                num_products += 1
    return ProductTimes(float32_seconds=best[torch.float32], bfloat16_seconds=best[torch.bfloat16])


def product_rate(device: str, dtype: str) -> float | None:
    """Floating point operations a second in matrix products of `dtype`: of one core on a CPU, of the whole
    GPU elsewhere.

    A 128 x 1024 matrix by a square one on a CPU: one or two milliseconds, so that while other programs run
    some products pass between two of their turns (with 512 rows a busy machine was measured at half its
    rate). Two square ones on a GPU, large enough to fill it. The best of about 0.05 s. None when not even
    these fit into the GPU's memory.
    """
    if device == "cpu":
        return _on_one_thread(lambda: _rate_of(device, dtype, num_rows=128, width=1024))
    try:
        return (
            _rate_of(device, dtype, num_rows=4096, width=4096)
            if device == "cuda"
            else _rate_of(device, dtype, 2048, 2048)
        )
    except RuntimeError:  # torch's out of memory is one
        return None


def _rate_of(device: str, dtype: str, num_rows: int, width: int, budget_seconds: float = 0.05) -> float:
    import torch

    rows = torch.ones(num_rows, width, dtype=getattr(torch, dtype), device=device)
    weight = torch.ones(width, width, dtype=rows.dtype, device=device)
    finish = {"cuda": torch.cuda.synchronize, "mps": torch.mps.synchronize}.get(device, lambda: None)
    best, num_turns, begin, own = float("inf"), 0, time.perf_counter(), time.thread_time()
    is_measured = False
    while num_turns < 3 or not is_measured:  # three: the first one compiles kernels
        start = time.perf_counter()
        torch.nn.functional.linear(rows, weight)  # (num_rows, width)
        finish()
        now = time.perf_counter()
        best, num_turns = min(best, now - start), num_turns + 1
        # On a busy CPU the time counts in which this thread had its turn, as far as anybody would wait for
        # that.
        spent = (
            time.thread_time() - own
            if device == "cpu" and now - begin < LONGEST_WAIT_SECONDS
            else now - begin
        )
        is_measured = spent >= budget_seconds
    del rows, weight
    if device == "cuda":
        torch.cuda.empty_cache()  # what is free now is what the plan was told
    return 2 * num_rows * width**2 / best


# Containers. Linux limits a process by its control groups: every group from its own up to the mount point
# counts.


def is_available(device: str) -> bool:
    """Return whether torch can compute on this kind of device here."""
    import torch

    found = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    return found.get(device, False)


def memory_in_use(device: str) -> int:
    """Return bytes that this process holds now: GPU memory on an accelerator, resident RAM on a CPU."""
    if device == "cpu":
        return int(psutil.Process().memory_info().rss)
    import torch

    return int(torch.cuda.memory_allocated() if device == "cuda" else torch.mps.driver_allocated_memory())
