"""What this machine is and how it should compute: `detect() -> Hardware`, decided from what `hardware_probe`
was told.

A `Hardware` can also come from a file (`nuguna check --json > machine.json`), to plan for a machine that is
elsewhere.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import takewhile
from pathlib import Path

from ..errors import EnvironmentFault, SettingError
from ..message import Message, say
from .container import container_cpu_quota, container_memory_left, container_memory_limit
from .device_profile import DEVICES as DEVICES  # values of a Hardware, so they are to be had here
from .probe import Gpu, Machine, macos_version, this_machine
from .problems import Problem as Problem  # part of Hardware, so it is to be had here
from .problems import find_problems, is_rosetta, rosetta_problem

DTYPES = ("bfloat16", "float16", "float32")

FASTER = 1.2  # what bfloat16 must gain in CPU matrix products to be worth its 8 bits of precision
CLEARLY_FASTER = 1.5  # the same where the CPU does not claim bfloat16 instructions


@dataclass(frozen=True, kw_only=True)
class Hardware:
    """What a plan needs to know about a machine. The fields are the keys of `nuguna check --json`."""

    device: str  # one of DEVICES
    name: str  # of the GPU, of the Apple chip, or of the CPU
    num_devices: int  # GPUs that can be used; 1 without CUDA
    memory_bytes: int  # usable on one device now: free GPU memory, or the RAM this process may really take
    system_memory_bytes: int  # RAM of the machine, or of the container if that is less
    num_cores: int  # physical cores this process may use; on Apple the performance cores
    free_disk_bytes: int  # where the run is written
    dtype: str  # one of DTYPES
    dtype_reason: Message
    problems: tuple[Problem, ...] = ()
    # Measured in matrix products, by dtype: of one GPU, or of all cores together. Empty: not measured (files
    # of older versions).
    gemm_flops_per_second: Mapping[str, float] = field(default_factory=dict)

    def to_json(self) -> dict[str, object]:
        """Return the document of `nuguna check --json`."""
        problems = [{"what": str(problem.what), "fix": str(problem.fix)} for problem in self.problems]
        rates = dict(self.gemm_flops_per_second)
        return {
            **vars(self),
            "dtype_reason": str(self.dtype_reason),
            "problems": problems,
            "gemm_flops_per_second": rates,
        }

    @classmethod
    def from_json(cls, document: object, *, file: Path) -> Hardware:
        """Build from a `to_json` document; `file` is where it came from, for the messages.

        Keys that are not known are let through, since later versions may add some. Raises `SettingError`.
        """
        if not isinstance(document, dict):
            seen = say("It starts with: {text}", text=_short(document))
            raise _bad_file(file, say("The hardware file is not a JSON object."), seen)
        return cls(
            device=_word(document, "device", DEVICES, file),
            name=_text(document, "name", file),
            num_devices=_count(document, "num_devices", 1, file),
            memory_bytes=_count(document, "memory_bytes", 0, file),
            system_memory_bytes=_count(document, "system_memory_bytes", 0, file),
            num_cores=_count(document, "num_cores", 1, file),
            free_disk_bytes=_count(document, "free_disk_bytes", 0, file),
            dtype=_word(document, "dtype", DTYPES, file),
            dtype_reason=Message(_text(document, "dtype_reason", file)),
            problems=_problems_from_json(document, file),
            gemm_flops_per_second=_rates_from_json(document, file),
        )


def detect(folder: Path, machine: Machine | None = None) -> Hardware:
    """Look at the machine; `folder` is where the run will be written, for the free disk space.

    `machine` is for tests. Raises `EnvironmentFault` when torch is not usable or the GPU does not answer.
    """
    machine = machine or this_machine(folder)
    if machine.torch is None:
        raise _torch_missing(machine)
    gpus = tuple(takewhile(lambda gpu: gpu.has_kernels, machine.torch.gpus))
    ram = _usable_ram(machine)
    if gpus:
        device, name = "cuda", " + ".join(dict.fromkeys(gpu.name for gpu in gpus))
        memory = min(gpu.free_memory_bytes for gpu in gpus)
        dtype, reason = _cuda_dtype(gpus)
    elif machine.torch.mps_available:
        # The working set is Metal's share of the whole RAM; what other programs hold is not there to be used.
        device, name, memory = "mps", _chip(machine), min(machine.torch.mps_memory_bytes, ram)
        dtype, reason = _apple_dtype(name, macos_version(machine))
    else:
        device, name, memory = "cpu", _chip(machine), ram
        dtype, reason = _cpu_dtype(machine)
    limits = (machine.total_memory_bytes, container_memory_limit(machine))
    num_cores = _num_cores(machine)
    return Hardware(
        device=device,
        name=name,
        num_devices=max(1, len(gpus)),
        memory_bytes=memory,
        system_memory_bytes=min(limit for limit in limits if limit is not None),
        num_cores=num_cores,
        free_disk_bytes=machine.free_disk_bytes,
        dtype=dtype,
        dtype_reason=reason,
        problems=tuple(find_problems(machine, machine.torch, memory)),
        gemm_flops_per_second=_gemm_rates(machine, device, dtype, num_cores),
    )


def read_hardware(path: Path) -> Hardware:
    """Read what `nuguna check --json` wrote on this or another machine. Raises `SettingError`."""
    try:
        # From bytes json finds out the encoding itself: PowerShell's > writes UTF-16.
        document = json.loads(path.read_bytes())
    except OSError as error:
        raise _bad_file(
            path, say("The hardware file cannot be read."), Message(error.strerror or str(error))
        ) from error
    except json.JSONDecodeError as error:
        seen = say(
            "Line {line}, column {column}: {problem}",
            line=error.lineno,
            column=error.colno,
            problem=error.msg,
        )
        raise _bad_file(path, say("The hardware file is not JSON."), seen) from error
    except (ValueError, RecursionError) as error:  # not text at all, a number without end, nested without end
        raise _bad_file(path, say("The hardware file is not JSON."), Message(str(error))) from error
    return Hardware.from_json(document, file=path)


# Memory, cores, names


def _usable_ram(machine: Machine) -> int:
    limits = (
        machine.available_memory_bytes,
        container_memory_left(machine),
        machine.address_space_left_bytes,
    )
    return min(limit for limit in limits if limit is not None)


def _num_cores(machine: Machine) -> int:
    """Physical cores: two threads of one core share its arithmetic units, so counting both promises twice the
    speed.
    """
    cores = machine.num_physical_cores
    if machine.system == "Darwin":
        # Efficiency cores would make the others wait at the end of each matrix product.
        performance = machine.run_command(("sysctl", "-n", "hw.perflevel0.physicalcpu")) or ""
        cores = int(performance) if performance.isdigit() else cores
    elif machine.allowed_cpus:
        topology = "/sys/devices/system/cpu/cpu{}/topology/thread_siblings_list"
        # Without the topology each logical CPU counts as its own core.
        cores = len({machine.read_file(topology.format(cpu)) or cpu for cpu in machine.allowed_cpus})
    quota = container_cpu_quota(machine)
    # Rounded down: one thread more than the quota pays for is stopped again and again, and all others wait
    # for it.
    return max(1, cores if quota is None else min(cores, int(quota)))


def _chip(machine: Machine) -> str:
    if machine.system == "Darwin":
        found = machine.run_command(("sysctl", "-n", "machdep.cpu.brand_string"))
    else:
        match = re.search(
            r"^(?:model name|Model)\s*:\s*(.+)$", machine.read_file("/proc/cpuinfo") or "", re.MULTILINE
        )
        found = match[1] if match else None
    return " ".join((found or machine.processor or machine.architecture).split())


# The number format to compute in, and why


def _cuda_dtype(gpus: tuple[Gpu, ...]) -> tuple[str, Message]:
    weakest = min(gpu.capability for gpu in gpus)
    capability = f"{weakest[0]}.{weakest[1]}"
    if weakest >= (8, 0):
        return "bfloat16", say(
            "the GPU computes in bfloat16 (compute capability {capability})", capability=capability
        )
    return "float32", say(
        "the GPU has no bfloat16 units (compute capability {capability}, 8.0 is needed), and float16 "
        "overflows easily",
        capability=capability,
    )


def _apple_dtype(chip: str, macos: tuple[int, ...]) -> tuple[str, Message]:
    found = re.search(r"\b([AM])(\d+)\b", chip)
    if not found:
        return "float32", say(
            "it is not known which short number formats this chip supports, and float32 works on every chip"
        )
    # M3 and A17 Pro are the first of Metal's GPU family Apple9, with 16-bit units for bfloat16 (Metal Feature
    # Set Tables).
    if int(found[2]) < (3 if found[1] == "M" else 17):
        return "float16", say(
            "the GPU of this chip computes in float16 but not in bfloat16, which came with M3"
        )
    if macos and macos < (14,):
        return "float16", say("the chip computes in bfloat16, but macOS supports it only from version 14 on")
    return "bfloat16", say("the GPU of this chip computes in bfloat16, as all have since M3")


def _cpu_dtype(machine: Machine) -> tuple[str, Message]:
    """Measure instead of trusting flags: virtual machines hide them, and some CPUs have the instructions but
    gain nothing.
    """
    times = machine.time_products()
    ratio = times.float32_seconds / times.bfloat16_seconds
    if ratio >= (FASTER if _claims_bfloat16(machine) else CLEARLY_FASTER):
        return "bfloat16", say(
            "bfloat16 matrix products ran {ratio} times as fast as float32 in a short measurement",
            ratio=f"{ratio:.1f}",
        )
    if ratio >= 1:
        return "float32", say(
            "bfloat16 matrix products ran only {ratio} times as fast as float32 in a short measurement: "
            "not worth the lost precision",
            ratio=f"{ratio:.2f}",
        )
    return "float32", say(
        "float32 matrix products ran {ratio} times as fast as bfloat16 in a short measurement",
        ratio=f"{1 / ratio:.1f}",
    )


def _gemm_rates(machine: Machine, device: str, dtype: str, num_cores: int) -> dict[str, float]:
    """Operations a second in the chosen number format and in float32, which small models are trained in.

    To three digits: more would only be the weather of the moment. On a CPU one core is measured and counted
    as often as there are cores, so that a program that is busy for a moment does not make another machine,
    and with it another plan, of this one.
    """
    rates = {name: machine.product_rate(device, name) for name in dict.fromkeys((dtype, "float32"))}
    times = num_cores if device == "cpu" else 1
    return {name: float(f"{rate * times:.3g}") for name, rate in rates.items() if rate is not None}


def _claims_bfloat16(machine: Machine) -> bool:
    if machine.system == "Darwin":
        return machine.run_command(("sysctl", "-n", "hw.optional.arm.FEAT_BF16")) == "1"
    lines = (machine.read_file("/proc/cpuinfo") or "").splitlines()
    flags = next((line for line in lines if line.startswith(("flags", "Features"))), "").split()
    return not {"avx512_bf16", "amx_bf16", "bf16"}.isdisjoint(flags)


def _torch_missing(machine: Machine) -> EnvironmentFault:
    seen = say("Importing torch failed: {error}", error=machine.torch_error)
    if is_rosetta(machine):  # there is no torch for Intel Macs any more, so setting up again would fail again
        problem = rosetta_problem()
        return EnvironmentFault(problem.what, seen=seen, fix=problem.fix)
    return EnvironmentFault(
        say("torch is not installed or cannot be loaded."), seen=seen, fix=say("Run ./setup_environment.sh")
    )


# Reading the JSON back


def _bad_file(file: Path, what: Message, seen: Message) -> SettingError:
    return SettingError(
        what,
        seen=say("{file}: {detail}", file=str(file), detail=seen),
        fix=say(
            "Create it again on the machine to plan for: nuguna check --json > {file}",
            file=shlex.quote(str(file)),
        ),
    )


def _short(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else text[:59] + "…"


def _get(document: dict[str, object], key: str, file: Path) -> object:
    if key not in document:
        seen = say("It has: {keys}", keys=", ".join(document))
        raise _bad_file(file, say('The hardware file has no "{key}".', key=key), seen)
    return document[key]


def _wrong(document: dict[str, object], key: str, expected: Message, file: Path) -> SettingError:
    what = say('"{key}" in the hardware file must be {expected}.', key=key, expected=expected)
    return _bad_file(file, what, say('"{key}" is {value}', key=key, value=_short(document[key])))


def _text(document: dict[str, object], key: str, file: Path) -> str:
    value = _get(document, key, file)
    if not isinstance(value, str):
        raise _wrong(document, key, say("text in quotation marks"), file)
    return value


def _word(document: dict[str, object], key: str, known: tuple[str, ...], file: Path) -> str:
    value = _get(document, key, file)
    if not isinstance(value, str) or value not in known:
        raise _wrong(document, key, say("one of {known}", known=", ".join(known)), file)
    return value


def _count(document: dict[str, object], key: str, smallest: int, file: Path) -> int:
    value = _get(document, key, file)
    # JSON's true is an int to Python
    if not isinstance(value, int) or isinstance(value, bool) or value < smallest:
        raise _wrong(document, key, say("a whole number of at least {smallest}", smallest=smallest), file)
    return value


def _rates_from_json(document: dict[str, object], file: Path) -> dict[str, float]:
    """Return the measured rates, which files of older versions do not have."""
    value = document.get("gemm_flops_per_second", {})
    if not isinstance(value, dict) or not all(
        name in DTYPES and _is_rate(rate) for name, rate in value.items()
    ):
        expected = say("a number above 0 for each of {known}", known=", ".join(DTYPES))
        raise _wrong(document, "gemm_flops_per_second", expected, file)
    return {name: float(rate) for name, rate in value.items()}


def _is_rate(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 < value < 1e24


def _problems_from_json(document: dict[str, object], file: Path) -> tuple[Problem, ...]:
    value = _get(document, "problems", file)
    if not isinstance(value, list) or not all(isinstance(entry, dict) for entry in value):
        raise _wrong(
            document, "problems", say("a list of {example}", example='{"what": "…", "fix": "…"}'), file
        )
    return tuple(
        Problem(what=Message(_text(entry, "what", file)), fix=Message(_text(entry, "fix", file)))
        for entry in value
    )
