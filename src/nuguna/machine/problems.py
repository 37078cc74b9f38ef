"""What about a machine or its installation holds training back, and what its owner can do about it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ..message import Message, say
from ..text.units import format_bytes
from .probe import Gpu, Machine, TorchFacts, macos_version

# torch and transformers alone take about 0.5 GB; the rest must hold a model
SMALLEST_MEMORY_BYTES = 2 * 2**30
SMALLEST_DISK_BYTES = 2 * 2**30  # weights of a small model, adapter and checkpoints


@dataclass(frozen=True, kw_only=True)
class Problem:
    """Something about the machine or the installation that holds training back, and what to do about it."""

    what: Message
    fix: Message


def find_problems(machine: Machine, torch_facts: TorchFacts, memory_bytes: int) -> Iterator[Problem]:
    """Yield every problem of a machine on which torch can be imported; `memory_bytes` is what one device has
    free.
    """
    if torch_facts.gpus:
        yield from _gpus_without_kernels(torch_facts.gpus)
    elif machine.system == "Darwin":
        yield from _mac_problems(machine, torch_facts)
    else:
        yield from _unused_nvidia(machine, torch_facts)
    if memory_bytes < SMALLEST_MEMORY_BYTES:
        yield Problem(
            what=say("Only {memory} of memory is free.", memory=format_bytes(memory_bytes)),
            fix=say("Close other programs, or give the container or virtual machine more memory."),
        )
    if machine.free_disk_bytes < SMALLEST_DISK_BYTES:
        yield Problem(
            what=say("Only {disk} of disk space is free.", disk=format_bytes(machine.free_disk_bytes)),
            fix=say("Delete what you no longer need, or choose a folder on another disk with --output-dir."),
        )


def _gpus_without_kernels(gpus: tuple[Gpu, ...]) -> Iterator[Problem]:
    for gpu in gpus:
        if not gpu.has_kernels:
            yield Problem(
                what=say(
                    "The installed torch was not built for {gpu} (compute capability {capability}), so it "
                    "is not used.",
                    gpu=gpu.name,
                    capability=f"{gpu.capability[0]}.{gpu.capability[1]}",
                ),
                fix=say(
                    "Run ./setup_environment.sh, which looks for a torch that fits; or hide this GPU with "
                    "CUDA_VISIBLE_DEVICES."
                ),
            )


def _mac_problems(machine: Machine, torch_facts: TorchFacts) -> Iterator[Problem]:
    version = macos_version(machine)
    if is_rosetta(machine):
        yield rosetta_problem()
    elif version and version < (14,) and machine.architecture == "arm64":
        yield Problem(
            what=say(
                "macOS {version} is too old: training on the GPU in bfloat16 needs macOS 14.",
                version=".".join(str(part) for part in version),
            ),
            fix=say("Update macOS to version 14 or newer in System Settings, General, Software Update."),
        )
    elif machine.architecture == "arm64" and not torch_facts.mps_available:
        yield Problem(
            what=say("This Mac has an Apple GPU, but the installed torch cannot use it."),
            fix=say("Delete the folder .venv, then run ./setup_environment.sh"),
        )


def _unused_nvidia(machine: Machine, torch_facts: TorchFacts) -> Iterator[Problem]:
    """Yield an NVIDIA GPU that torch does not reach. A GPU hidden with CUDA_VISIBLE_DEVICES is the user's
    wish, not a problem.
    """
    if machine.visible_gpus is not None and machine.visible_gpus.strip() in ("", "-1"):
        return
    query = ("--query-gpu=name,driver_version", "--format=csv,noheader")
    # In WSL the program lies outside the usual path.
    answer = machine.run_command(("nvidia-smi", *query)) or machine.run_command(
        ("/usr/lib/wsl/lib/nvidia-smi", *query)
    )
    driver_loaded = machine.read_file("/proc/driver/nvidia/version") is not None
    if not answer and not driver_loaded:
        return
    name, _, driver = (answer or "").partition("\n")[0].rpartition(", ")
    if torch_facts.cuda_build is None:
        what = say(
            "This machine has a GPU ({gpu}), but the installed torch is a build for CPUs.",
            gpu=name or "NVIDIA",
        )
        yield Problem(
            what=what, fix=say("Run ./setup_environment.sh, which installs the torch that fits the GPU.")
        )
    elif answer:
        yield Problem(
            what=say(
                "The NVIDIA driver {driver} does not work with the installed torch (for CUDA {cuda}); it is "
                "probably too old.",
                driver=driver,
                cuda=torch_facts.cuda_build,
            ),
            fix=say(
                "Update the NVIDIA driver (https://www.nvidia.com/drivers), restart, then run "
                "./setup_environment.sh"
            ),
        )
    else:
        yield Problem(
            what=say("An NVIDIA driver is loaded, but no GPU can be reached from here."),
            fix=say(
                "Start a container with --gpus all; on a real machine, restart and see whether nvidia-smi "
                "works."
            ),
        )


def is_rosetta(machine: Machine) -> bool:
    """Return whether this is an Intel Python translated on an Apple chip."""
    return (
        machine.system == "Darwin" and machine.run_command(("sysctl", "-n", "sysctl.proc_translated")) == "1"
    )


def rosetta_problem() -> Problem:
    """Return the problem of an Intel Python on an Apple chip, with torch or without."""
    return Problem(
        what=say(
            "This Python is made for Intel Macs and runs translated (Rosetta), so torch cannot use the Apple "
            "GPU."
        ),
        fix=say(
            "Install Python for Apple Silicon (arm64) from python.org, delete .venv, then run "
            "./setup_environment.sh"
        ),
    )
