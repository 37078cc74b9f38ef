"""Other people's machines, described as values, and this one for real."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from nuguna.errors import EnvironmentFault, SettingError
from nuguna.machine.hardware import Hardware, detect, read_hardware
from nuguna.machine.probe import Gpu, Machine, ProductTimes, TorchFacts, covers, product_rate, this_machine, time_products
from nuguna.message import Message
from nuguna.text.units import format_bytes, format_seconds

GIB = 2**30
KEYS = ["device", "name", "num_devices", "memory_bytes", "system_memory_bytes", "num_cores", "free_disk_bytes"]
KEYS += ["dtype", "dtype_reason", "problems"]
RATE = "gemm_flops_per_second"  # which files of older versions do not have

CPU_TORCH = TorchFacts(cuda_build=None, gpus=(), mps_available=False, mps_memory_bytes=0)
MPS_TORCH = replace(CPU_TORCH, mps_available=True, mps_memory_bytes=12 * GIB)
H100 = Gpu(name="NVIDIA H100 80GB HBM3", capability=(9, 0), free_memory_bytes=78 * GIB, has_kernels=True)
T4 = Gpu(name="Tesla T4", capability=(7, 5), free_memory_bytes=14 * GIB, has_kernels=True)
CPUINFO = "processor\t: 0\nmodel\t\t: 17\nmodel name\t: Fast  CPU\nflags\t\t: fpu avx512f avx512_bf16 amx_tile\n"
PLAIN_CPUINFO = CPUINFO.replace(" avx512_bf16 amx_tile", "")
SMI = ("nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader")


def pc(
    *,
    files: dict[str, str] | None = None,
    commands: dict[tuple[str, ...], str] | None = None,
    speedup: float | None = None,
    **changes: object,
) -> Machine:
    """Return a Linux PC with 8 cores, 16 GiB and CPU torch. `speedup`: of bfloat16; left out, measuring it
    fails the test.
    """

    def products() -> ProductTimes:
        assert speedup is not None, "the CPU was timed although another device computes"
        return ProductTimes(float32_seconds=0.01, bfloat16_seconds=0.01 / speedup)

    def run(argv: Sequence[str]) -> str | None:
        return (commands or {}).get(tuple(argv))

    usual = Machine(
        system="Linux",
        architecture="x86_64",
        processor="",
        total_memory_bytes=16 * GIB,
        available_memory_bytes=12 * GIB,
        address_space_left_bytes=None,
        allowed_cpus=frozenset(range(8)),
        num_physical_cores=8,
        free_disk_bytes=100 * GIB,
        visible_gpus=None,
        torch=CPU_TORCH,
        torch_error="",
        read_file={"/proc/cpuinfo": PLAIN_CPUINFO, **(files or {})}.get,
        run_command=run,
        time_products=products,
        product_rate=lambda device, dtype: {"cpu": 1.2345e11, "mps": 3e12, "cuda": None}[device],
    )
    return replace(usual, **changes)  # type: ignore[arg-type]


def mac(
    chip: str, *, macos: str = "15.1", translated: str = "0", torch: TorchFacts | None = MPS_TORCH, **changes: object
) -> Machine:
    commands = {
        ("sysctl", "-n", "machdep.cpu.brand_string"): chip,
        ("sysctl", "-n", "hw.perflevel0.physicalcpu"): "4",
        ("sysctl", "-n", "sysctl.proc_translated"): translated,
        ("sw_vers", "-productVersion"): macos,
    }
    usual = {"system": "Darwin", "architecture": "arm64", "allowed_cpus": None, "torch": torch}
    return pc(commands=commands, **(usual | changes))  # type: ignore[arg-type]


def with_gpus(*gpus: Gpu, cuda_build: str | None = "13.0") -> TorchFacts:
    return replace(CPU_TORCH, cuda_build=cuda_build, gpus=gpus)


def look(machine: Machine) -> Hardware:
    return detect(Path("unused"), machine)


def only_problem(machine: Machine) -> tuple[str, str]:
    problems = look(machine).problems
    assert len(problems) == 1, [str(problem.what) for problem in problems]
    return str(problems[0].what), str(problems[0].fix)


# GPUs


def test_an_h100_computes_in_bfloat16_and_counts_its_own_free_memory() -> None:
    hardware = look(pc(torch=with_gpus(H100)))
    assert (hardware.device, hardware.name, hardware.num_devices) == ("cuda", "NVIDIA H100 80GB HBM3", 1)
    assert (hardware.memory_bytes, hardware.system_memory_bytes) == (78 * GIB, 16 * GIB)
    assert hardware.dtype == "bfloat16"
    assert "9.0" in str(hardware.dtype_reason)
    assert hardware.problems == ()


def test_a_t4_computes_in_float32_and_says_why() -> None:
    hardware = look(pc(torch=with_gpus(T4)))
    assert (hardware.device, hardware.dtype) == ("cuda", "float32")
    assert "7.5" in str(hardware.dtype_reason)
    assert "8.0" in str(hardware.dtype_reason)


def test_capability_8_0_is_enough_for_bfloat16() -> None:
    assert look(pc(torch=with_gpus(replace(H100, capability=(8, 0))))).dtype == "bfloat16"


def test_the_weaker_of_two_gpus_decides() -> None:
    assert look(pc(torch=with_gpus(H100, H100))).name == "NVIDIA H100 80GB HBM3"
    hardware = look(pc(torch=with_gpus(H100, T4)))
    assert (hardware.num_devices, hardware.memory_bytes, hardware.dtype) == (2, 14 * GIB, "float32")
    assert hardware.name == "NVIDIA H100 80GB HBM3 + Tesla T4"


def test_a_gpu_this_torch_has_no_kernels_for_is_left_out_and_named() -> None:
    pascal = Gpu(name="GTX 1080", capability=(6, 1), free_memory_bytes=8 * GIB, has_kernels=False)
    alone = pc(torch=with_gpus(pascal), speedup=1.0)
    assert look(alone).device == "cpu"
    what, fix = only_problem(alone)
    assert "GTX 1080" in what
    assert "6.1" in what
    assert "./setup_environment.sh" in fix
    beside = look(pc(torch=with_gpus(H100, pascal)))
    assert (beside.device, beside.num_devices, beside.memory_bytes, len(beside.problems)) == ("cuda", 1, 78 * GIB, 1)


@pytest.mark.parametrize(
    ("architectures", "capability", "runs"),
    [
        (["sm_80", "sm_90"], (8, 6), True),  # the same major version, a later minor one
        (["sm_86"], (8, 0), False),
        (["sm_80"], (9, 0), False),  # machine code of another major version
        (["sm_80", "compute_80"], (9, 0), True),  # PTX is translated for newer GPUs …
        (["sm_75", "compute_120"], (6, 1), False),  # … and not for older ones
        (["sm_90a"], (9, 0), True),
        (["sm_120"], (12, 0), True),
        (["gfx90a"], (9, 0), True),  # AMD: not our question
    ],
)
def test_which_gpus_a_torch_build_covers(architectures: list[str], capability: tuple[int, int], runs: bool) -> None:
    assert covers(architectures, capability) is runs


@pytest.mark.parametrize(
    ("chip", "macos", "dtype"),
    [
        ("Apple M1", "15.1", "float16"),
        ("Apple M1 (Virtual)", "15.1", "float16"),
        ("Apple M2 Ultra", "15.1", "float16"),
        ("Apple M3 Pro", "14.0", "bfloat16"),
        ("Apple M3 Pro", "13.6", "float16"),
        ("Apple M10 Max", "30.0", "bfloat16"),
        ("Apple A18 Pro", "26.0", "bfloat16"),
        ("Apple processor", "15.1", "float32"),
    ],
)
def test_the_number_format_of_apple_chips(chip: str, macos: str, dtype: str) -> None:
    hardware = look(mac(chip, macos=macos))
    assert (hardware.device, hardware.name, hardware.dtype) == ("mps", chip, dtype)
    assert str(hardware.dtype_reason)


def test_a_mac_counts_performance_cores_and_the_memory_that_is_both_metals_and_free() -> None:
    hardware = look(mac("Apple M3 Pro"))
    assert (hardware.memory_bytes, hardware.num_cores, hardware.problems) == (12 * GIB, 4, ())
    assert look(mac("Apple M3 Pro", available_memory_bytes=5 * GIB)).memory_bytes == 5 * GIB
    roomy = replace(MPS_TORCH, mps_memory_bytes=10 * GIB)
    assert look(mac("Apple M3 Pro", torch=roomy)).memory_bytes == 10 * GIB


# CPUs


def test_fast_bfloat16_is_used_and_the_measurement_is_quoted() -> None:
    hardware = look(pc(files={"/proc/cpuinfo": CPUINFO}, speedup=2.14))
    assert (hardware.device, hardware.name, hardware.num_devices, hardware.dtype) == ("cpu", "Fast CPU", 1, "bfloat16")
    assert "2.1 times" in str(hardware.dtype_reason)


def test_a_flag_without_speed_is_not_believed() -> None:
    slow = look(pc(files={"/proc/cpuinfo": CPUINFO}, speedup=0.4))
    assert slow.dtype == "float32"
    assert "float32 matrix products ran 2.5 times as fast" in str(slow.dtype_reason)
    hardly = look(pc(files={"/proc/cpuinfo": CPUINFO}, speedup=1.15))
    assert hardly.dtype == "float32"
    assert "1.15 times" in str(hardly.dtype_reason)


def test_without_the_flag_bfloat16_must_be_clearly_faster() -> None:
    assert look(pc(speedup=1.4)).dtype == "float32"
    assert look(pc(speedup=1.6)).dtype == "bfloat16"
    assert look(pc(files={"/proc/cpuinfo": CPUINFO}, speedup=1.4)).dtype == "bfloat16"


def test_arm_cpus_state_their_features_under_another_name() -> None:
    files = {"/proc/cpuinfo": "processor\t: 0\nFeatures\t: fp asimd bf16 i8mm\nCPU part\t: 0xd4f\n"}
    hardware = look(pc(files=files, speedup=1.4, architecture="aarch64"))
    assert (hardware.name, hardware.dtype) == ("aarch64", "bfloat16")


def siblings(*groups: str) -> dict[str, str]:
    path = "/sys/devices/system/cpu/cpu{}/topology/thread_siblings_list"
    return {path.format(number): group + "\n" for number, group in enumerate(groups)}


def test_threads_of_one_core_count_once() -> None:
    files = siblings("0,4", "1,5", "2,6", "3,7", "0,4", "1,5", "2,6", "3,7")
    assert look(pc(files=files, speedup=1.0)).num_cores == 4


def test_only_cores_this_process_may_run_on_count() -> None:
    files = siblings("0,4", "1,5", "2,6", "3,7", "0,4", "1,5", "2,6", "3,7")
    assert look(pc(files=files, speedup=1.0, allowed_cpus=frozenset({1, 5, 2}))).num_cores == 2
    assert look(pc(speedup=1.0, allowed_cpus=frozenset({1, 5, 2}))).num_cores == 3  # no topology to be read
    assert look(pc(speedup=1.0, allowed_cpus=None)).num_cores == 8


def test_the_rate_is_that_of_all_cores_of_a_cpu_or_of_the_gpu_and_asked_for_the_chosen_format() -> None:
    asked: list[tuple[str, str]] = []

    def rate(device: str, dtype: str) -> float:
        asked.append((device, dtype))
        return 1.2345e11

    on_cpu = look(pc(speedup=2.0, product_rate=rate)).gemm_flops_per_second
    assert on_cpu == {"bfloat16": 9.88e11, "float32": 9.88e11}  # eight cores, three digits
    assert look(pc(torch=with_gpus(T4), product_rate=rate)).gemm_flops_per_second == {"float32": 1.23e11}
    assert look(mac("Apple M1", product_rate=rate)).gemm_flops_per_second == {"float16": 1.23e11, "float32": 1.23e11}
    assert asked[:3] == [("cpu", "bfloat16"), ("cpu", "float32"), ("cuda", "float32")]
    assert asked[3:] == [("mps", "float16"), ("mps", "float32")]
    assert look(pc(torch=with_gpus(H100))).gemm_flops_per_second == {}  # it could not be measured


def test_what_other_programs_hold_is_not_free_and_swap_never_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import psutil

    memory, swap = psutil.virtual_memory(), psutil.swap_memory()
    monkeypatch.setattr(psutil, "swap_memory", lambda: swap._replace(total=64 * GIB, free=64 * GIB))
    seen = []
    for available in (9 * GIB, 3 * GIB):  # another program takes 6 GiB between two looks
        changed = memory._replace(total=16 * GIB, available=available, free=GIB)
        monkeypatch.setattr(psutil, "virtual_memory", lambda changed=changed: changed)
        machine = replace(this_machine(tmp_path), address_space_left_bytes=None, read_file=lambda path: None, torch=CPU_TORCH)
        hardware = detect(tmp_path, replace(machine, product_rate=lambda device, dtype: None))
        seen.append((hardware.memory_bytes, hardware.system_memory_bytes))
    assert seen == [(9 * GIB, 16 * GIB), (3 * GIB, 16 * GIB)]


def test_swap_of_a_container_does_not_count() -> None:
    group = "/sys/fs/cgroup/jobs/mine/memory"
    files = V2 | {f"{group}.max": f"{4 * GIB}\n", f"{group}.swap.max": "max\n", f"{group}.current": f"{GIB}\n"}
    assert look(pc(files=files | {f"{group}.swap.current": f"{8 * GIB}\n"}, speedup=1.0)).memory_bytes == 3 * GIB


def test_address_space_limits_memory() -> None:
    assert look(pc(speedup=1.0)).memory_bytes == 12 * GIB
    assert look(pc(speedup=1.0, address_space_left_bytes=3 * GIB)).memory_bytes == 3 * GIB


# Containers

V2 = {
    "/proc/self/cgroup": "0::/jobs/mine\n",
    "/proc/self/mountinfo": "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n",
}
V1 = {
    "/proc/self/cgroup": "4:memory:/docker/abc\n3:cpu,cpuacct:/docker/abc\n0::/\n",
    "/proc/self/mountinfo": (
        "35 31 0:32 /docker/abc /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n"
        "36 31 0:33 /docker/abc /sys/fs/cgroup/cpu,cpuacct ro master:2 - cgroup cgroup rw,cpu,cpuacct\n"
    ),
}


def test_a_2_gib_container_has_2_gib_less_what_it_uses() -> None:
    files = V2 | {
        "/sys/fs/cgroup/jobs/mine/memory.max": f"{2 * GIB}\n",
        "/sys/fs/cgroup/jobs/mine/memory.current": f"{GIB}\n",
        "/sys/fs/cgroup/jobs/mine/memory.stat": f"anon {GIB // 2}\ninactive_file {GIB // 4}\n",
    }
    machine = pc(files=files, speedup=1.0)
    hardware = look(machine)
    # 2 GiB - (1 GiB used - ¼ GiB file cache the kernel gives back)
    assert (hardware.memory_bytes, hardware.system_memory_bytes) == (GIB + GIB // 4, 2 * GIB)
    what, _ = only_problem(machine)
    assert "1.2 GiB" in what


def test_the_tightest_group_above_counts() -> None:
    files = V2 | {
        "/sys/fs/cgroup/jobs/mine/memory.max": "max\n",
        "/sys/fs/cgroup/jobs/memory.max": f"{4 * GIB}\n",
        "/sys/fs/cgroup/jobs/memory.current": f"{GIB}\n",
    }
    assert look(pc(files=files, speedup=1.0)).memory_bytes == 3 * GIB
    files["/sys/fs/cgroup/jobs/mine/memory.high"] = f"{GIB * 5 // 2}\n"
    assert look(pc(files=files, speedup=1.0)).memory_bytes == GIB * 5 // 2


def test_a_container_that_uses_more_than_its_limit_has_nothing_left() -> None:
    files = V2 | {"/sys/fs/cgroup/jobs/memory.max": "1000\n", "/sys/fs/cgroup/jobs/memory.current": "2000\n"}
    assert look(pc(files=files, speedup=1.0)).memory_bytes == 0


def test_a_limit_above_the_free_memory_changes_nothing() -> None:
    files = V2 | {"/sys/fs/cgroup/jobs/memory.max": f"{64 * GIB}\n", "/sys/fs/cgroup/jobs/memory.current": "0\n"}
    hardware = look(pc(files=files, speedup=1.0))
    assert (hardware.memory_bytes, hardware.system_memory_bytes) == (12 * GIB, 16 * GIB)


def test_cgroup_version_1() -> None:
    files = V1 | {
        "/sys/fs/cgroup/memory/memory.limit_in_bytes": f"{6 * GIB}\n",
        "/sys/fs/cgroup/memory/memory.usage_in_bytes": f"{2 * GIB}\n",
        "/sys/fs/cgroup/memory/memory.stat": f"inactive_file 7\ntotal_inactive_file {GIB}\n",
        "/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "300000\n",
        "/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000\n",
    }
    hardware = look(pc(files=files, speedup=1.0))
    assert (hardware.memory_bytes, hardware.system_memory_bytes, hardware.num_cores) == (5 * GIB, 6 * GIB, 3)
    unlimited = V1 | {
        "/sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
        "/sys/fs/cgroup/memory/memory.usage_in_bytes": "5\n",
        "/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "-1\n",
        "/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000\n",
    }
    hardware = look(pc(files=unlimited, speedup=1.0))
    assert (hardware.memory_bytes, hardware.system_memory_bytes, hardware.num_cores) == (12 * GIB, 16 * GIB, 8)


@pytest.mark.parametrize(
    ("quota", "cores"), [("350000 100000", 3), ("50000 100000", 1), ("max 100000", 8), ("1600000 100000", 8)]
)
def test_a_cpu_quota_limits_the_cores(quota: str, cores: int) -> None:
    assert look(pc(files=V2 | {"/sys/fs/cgroup/jobs/cpu.max": quota + "\n"}, speedup=1.0)).num_cores == cores


def test_a_container_with_its_own_cgroup_namespace() -> None:
    files = V2 | {
        "/proc/self/cgroup": "0::/../../elsewhere\n",
        "/sys/fs/cgroup/../../elsewhere/memory.max": "1\n",  # not our group, whatever lies there
        "/sys/fs/cgroup/memory.max": f"{3 * GIB}\n",
        "/sys/fs/cgroup/memory.current": "0\n",
    }
    assert look(pc(files=files, speedup=1.0)).memory_bytes == 3 * GIB


# Problems


def test_cpu_torch_beside_an_nvidia_gpu() -> None:
    what, fix = only_problem(pc(commands={SMI: "NVIDIA GeForce RTX 4090, 580.65.06"}, speedup=1.0))
    assert "NVIDIA GeForce RTX 4090" in what
    assert "./setup_environment.sh" in fix
    what, fix = only_problem(pc(files={"/proc/driver/nvidia/version": "NVRM version"}, speedup=1.0))
    assert "NVIDIA" in what
    assert "./setup_environment.sh" in fix
    wsl = ("/usr/lib/wsl/lib/nvidia-smi", *SMI[1:])
    assert "RTX 3060" in only_problem(pc(commands={wsl: "NVIDIA GeForce RTX 3060, 560.1"}, speedup=1.0))[0]


def test_an_old_driver_is_named_with_both_versions() -> None:
    what, fix = only_problem(pc(torch=with_gpus(), commands={SMI: "Tesla T4, 450.80.02\nTesla T4, 450.80.02"}, speedup=1.0))
    assert "450.80.02" in what
    assert "13.0" in what
    assert "driver" in fix


def test_a_driver_without_a_gpu_points_to_the_container() -> None:
    files = {"/proc/driver/nvidia/version": "NVRM version"}
    assert "--gpus all" in only_problem(pc(torch=with_gpus(), files=files, speedup=1.0))[1]


@pytest.mark.parametrize("hidden", ["", "-1"])
def test_a_gpu_hidden_on_purpose_is_no_problem(hidden: str) -> None:
    machine = pc(torch=with_gpus(), commands={SMI: "Tesla T4, 580.1"}, visible_gpus=hidden, speedup=1.0)
    assert look(machine).problems == ()
    assert look(replace(machine, visible_gpus="0")).problems != ()


def test_an_intel_python_on_apple_silicon() -> None:
    machine = mac("Apple M2", translated="1", architecture="x86_64", torch=CPU_TORCH, time_products=lambda: ProductTimes(
        float32_seconds=1.0, bfloat16_seconds=1.0))  # fmt: skip
    what, fix = only_problem(machine)
    assert "Rosetta" in what
    assert "arm64" in fix
    assert ".venv" in fix
    assert "./setup_environment.sh" in fix
    # torch no longer comes for Intel Macs, so this is how it really shows.
    with pytest.raises(EnvironmentFault) as caught:
        look(replace(machine, torch=None, torch_error="No module named 'torch'"))
    assert (str(caught.value.what), str(caught.value.fix)) == (what, fix)
    assert "No module named 'torch'" in str(caught.value.seen)


def test_an_intel_mac_has_no_apple_gpu_to_miss() -> None:
    same = ProductTimes(float32_seconds=1.0, bfloat16_seconds=1.0)
    machine = mac("Intel(R) Core(TM) i7", translated="", architecture="x86_64", torch=CPU_TORCH, time_products=lambda: same)
    assert (look(machine).device, look(machine).problems) == ("cpu", ())


def test_macs_whose_gpu_cannot_be_used() -> None:
    same = ProductTimes(float32_seconds=1.0, bfloat16_seconds=1.0)
    what, fix = only_problem(mac("Apple M1", macos="13.6", torch=CPU_TORCH, time_products=lambda: same))
    assert "13.6" in what
    assert "14" in fix
    what, fix = only_problem(mac("Apple M1", torch=CPU_TORCH, time_products=lambda: same))
    assert "torch" in what
    assert "./setup_environment.sh" in fix


def test_little_memory_and_little_disk() -> None:
    assert "1.0 GiB" in only_problem(pc(speedup=1.0, available_memory_bytes=GIB))[0]
    assert "512 MiB" in only_problem(pc(speedup=1.0, free_disk_bytes=GIB // 2))[0]
    assert "--output-dir" in only_problem(pc(speedup=1.0, free_disk_bytes=GIB // 2))[1]
    assert "1.0 GiB" in only_problem(pc(torch=with_gpus(replace(H100, free_memory_bytes=GIB))))[0]
    assert look(pc(speedup=1.0, available_memory_bytes=2 * GIB, free_disk_bytes=2 * GIB)).problems == ()


def test_missing_torch_is_a_fault_with_its_remedy() -> None:
    with pytest.raises(EnvironmentFault) as caught:
        look(pc(torch=None, torch_error="libcudart.so.13: cannot open shared object file"))
    assert "libcudart.so.13" in str(caught.value.seen)
    assert "./setup_environment.sh" in str(caught.value.fix)
    assert caught.value.exit_code == 1


# JSON


def test_json_has_exactly_the_promised_keys_and_survives_the_way_there_and_back(tmp_path: Path) -> None:
    hardware = look(pc(commands={SMI: "RTX {4090}, 580.1"}, speedup=1.0))
    document = hardware.to_json()
    assert list(document) == [*KEYS, RATE]
    assert document["problems"] == [{"what": str(p.what), "fix": str(p.fix)} for p in hardware.problems]
    assert "{4090}" in json.dumps(document)  # braces in a name are not places to fill in
    for encoding in ("utf-8", "utf-8-sig", "utf-16"):
        file = tmp_path / encoding
        file.write_text(json.dumps(document), encoding=encoding)
        back = read_hardware(file)
        assert back.to_json() == document
        assert isinstance(back.dtype_reason, Message)


def test_keys_of_later_versions_are_let_through(tmp_path: Path) -> None:
    file = tmp_path / "machine.json"
    file.write_text(json.dumps(look(pc(speedup=1.0)).to_json() | {"power_watts": 65}))
    assert read_hardware(file).num_cores == 8


def test_a_file_of_an_older_version_has_no_measured_rate(tmp_path: Path) -> None:
    file = tmp_path / "machine.json"
    document = look(pc(speedup=1.0)).to_json()
    assert document.pop(RATE)
    file.write_text(json.dumps(document))
    assert read_hardware(file).gemm_flops_per_second == {}


def refused(file: Path) -> str:
    with pytest.raises(SettingError) as caught:
        read_hardware(file)
    error = caught.value
    assert error.exit_code == 2
    assert str(error.what)
    assert str(file) in str(error.seen)
    assert "nuguna check --json > " in str(error.fix)
    return f"{error.what} | {error.seen}"


@pytest.mark.parametrize("key", KEYS)
def test_a_missing_key_is_named(tmp_path: Path, key: str) -> None:
    document = look(pc(speedup=1.0)).to_json()
    del document[key]
    file = tmp_path / "machine.json"
    file.write_text(json.dumps(document))
    assert f'no "{key}"' in refused(file)


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("device", "tpu", "cuda, mps, cpu"),
        ("device", ["cpu"], "cuda, mps, cpu"),
        ("dtype", "bf16", "bfloat16, float16, float32"),
        ("name", 7, "text"),
        ("dtype_reason", None, "text"),
        ("memory_bytes", -1, "at least 0"),
        ("memory_bytes", "16 GiB", "whole number"),
        ("memory_bytes", 1.5, "whole number"),
        ("system_memory_bytes", -5, "at least 0"),
        ("free_disk_bytes", -5, "at least 0"),
        ("num_cores", True, "whole number"),
        ("num_cores", 0, "at least 1"),
        ("num_devices", 0, "at least 1"),
        ("problems", "none", "list"),
        ("problems", ["slow"], "list"),
        ("problems", [{"what": "slow"}], '"fix"'),
        ("problems", [{"what": "slow", "fix": 3}], '"fix"'),
        (RATE, {"float32": 0}, "above 0"),
        (RATE, {"float32": "fast"}, "above 0"),
        (RATE, {"float32": True}, "above 0"),
        (RATE, {"float32": float("nan")}, "above 0"),
        (RATE, {"float32": 10**30}, "above 0"),
        (RATE, {"int3": 1e12}, "float16"),
        (RATE, 1e12, "above 0"),
    ],
)
def test_a_wrong_value_is_quoted_beside_what_is_right(tmp_path: Path, key: str, value: object, words: str) -> None:
    file = tmp_path / "my machine.json"
    file.write_text(json.dumps(look(pc(speedup=1.0)).to_json() | {key: value}))
    said = refused(file)
    assert words in said
    if '"fix"' not in words:
        assert f'"{key}" is {json.dumps(value)}' in said


def test_files_that_are_not_json(tmp_path: Path) -> None:
    file = tmp_path / "machine.json"
    assert "cannot be read" in refused(file)
    assert "cannot be read" in refused(tmp_path)
    for content, words in [
        (b'{"device":\n "cpu",,}', "ine 2, column 8"),
        (b"", "ine 1"),
        (b"\x93\xfa\x96{", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b"9" * 10_000, "not"),
        (b'["cpu"]', '["cpu"]'),
        (b'"' + b"x" * 500 + b'"', "xxx…"),
    ]:
        file.write_bytes(content)
        assert words in refused(file)


def test_the_fix_can_be_typed_even_when_the_name_has_spaces(tmp_path: Path) -> None:
    with pytest.raises(SettingError) as caught:
        read_hardware(tmp_path / "my machine.json")
    assert f"> '{tmp_path}/my machine.json'" in str(caught.value.fix)


# This machine


def test_this_machine(tmp_path: Path) -> None:
    import torch

    threads, random_state = torch.get_num_threads(), torch.get_rng_state()
    start = time.perf_counter()
    hardware = detect(tmp_path / "not" / "there" / "yet")
    assert time.perf_counter() - start < (2 if not torch.cuda.is_available() else 20)  # CUDA's start takes longer
    assert not (tmp_path / "not").exists()
    assert torch.get_num_threads() == threads
    assert torch.equal(torch.get_rng_state(), random_state)
    assert hardware.memory_bytes > 0
    assert GIB // 4 < hardware.system_memory_bytes < 2**50
    assert 1 <= hardware.num_cores <= (os.cpu_count() or 1)
    assert hardware.free_disk_bytes > 0
    assert hardware.name
    expected = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    assert hardware.device == expected or hardware.problems
    assert Hardware.from_json(json.loads(json.dumps(hardware.to_json())), file=tmp_path).to_json() == hardware.to_json()


def until_two_agree(measure: Callable[[], float]) -> list[float]:
    """Two measurements in a row that agree; the last two of six where none did. Other programs may be in between."""
    found = [measure(), measure()]
    while len(found) < 6 and max(found[-2:]) >= 1.5 * min(found[-2:]):
        found.append(measure())
    return found[-2:]


def test_measuring_tells_the_precisions_apart_and_leaves_threads_as_they_were() -> None:
    import torch

    def threads_of_a_new_thread() -> int:
        with ThreadPoolExecutor(max_workers=1) as helper:
            return helper.submit(torch.get_num_threads).result()

    before = torch.get_num_threads(), threads_of_a_new_thread()
    ratios = until_two_agree(lambda: (times := time_products()).float32_seconds / times.bfloat16_seconds)
    assert (torch.get_num_threads(), threads_of_a_new_thread()) == before
    # Nothing computes thousands of times faster; two measurements agree well enough to decide the same.
    assert all(1e-3 < ratio < 1e2 for ratio in ratios)
    assert max(ratios) < 1.5 * min(ratios)


def test_the_rate_of_products_is_measured_alike_and_leaves_threads_as_they_were() -> None:
    import torch

    before = torch.get_num_threads()
    rates = until_two_agree(lambda: product_rate("cpu", "float32") or 0.0)
    assert torch.get_num_threads() == before
    assert all(1e8 < rate < 1e13 for rate in rates)
    assert max(rates) < 1.5 * min(rates)
    assert product_rate("nowhere", "float32") is None  # torch knows no such device


def test_questions_nobody_answers(tmp_path: Path) -> None:
    machine = this_machine(tmp_path)
    assert machine.read_file(str(tmp_path / "missing")) is None
    assert machine.read_file(str(tmp_path)) is None
    assert machine.run_command(("nuguna-no-such-command",)) is None
    assert machine.run_command((sys.executable, "-c", "raise SystemExit(3)")) is None
    assert machine.run_command((sys.executable, "-c", "print('yes')")) == "yes"


@pytest.mark.skipif(sys.platform != "linux", reason="macOS does not enforce RLIMIT_AS")
def test_ulimit_is_read() -> None:
    code = (
        "import resource\n"
        "from nuguna.machine import probe\n"
        "print(probe._address_space_left())\n"
        f"resource.setrlimit(resource.RLIMIT_AS, ({3 * GIB}, resource.getrlimit(resource.RLIMIT_AS)[1]))\n"
        "print(probe._address_space_left())\n"
    )
    before, after = subprocess.run((sys.executable, "-c", code), capture_output=True, check=True, text=True).stdout.split()
    assert before == "None" or int(before) >= 0
    assert 2 * GIB < int(after) < 3 * GIB  # the limit less what Python itself has mapped


def test_importing_hardware_does_not_import_torch() -> None:
    code = "import sys, nuguna.machine.hardware; print('torch' in sys.modules)"
    done = subprocess.run((sys.executable, "-c", code), capture_output=True, check=True, text=True)
    assert done.stdout.strip() == "False"


# Units


@pytest.mark.parametrize(
    ("num_bytes", "text"),
    [(0, "0 B"), (1023, "1023 B"), (1024, "1 KiB"), (512 * 2**20, "512 MiB"), (GIB - 1, "1.0 GiB"), (GIB * 3 // 2, "1.5 GiB"),
     (1024 * GIB - 1, "1.0 TiB"), (5 * 1024 * GIB, "5.0 TiB"), (5000 * 1024 * GIB, "5000.0 TiB")],
)  # fmt: skip
def test_sizes(num_bytes: int, text: str) -> None:
    assert format_bytes(num_bytes) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0:00:00"), (59.6, "0:01:00"), (125, "0:02:05"), (3600, "1:00:00"), (100 * 3600, "100:00:00")]
)
def test_durations(seconds: float, text: str) -> None:
    assert format_seconds(seconds) == text
