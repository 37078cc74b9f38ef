"""What a container allows: memory and processor time by its control groups."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePosixPath

from .probe import Machine


def container_memory_left(machine: Machine) -> int | None:
    """Return bytes this process may still take under its tightest cgroup; None without a limit."""
    left = [
        limit - _group_usage(machine, group, version) for version, group, limit in _memory_limits(machine)
    ]
    return max(0, min(left)) if left else None


def container_memory_limit(machine: Machine) -> int | None:
    """Return the tightest cgroup memory limit in bytes; None without one."""
    return min((limit for _, _, limit in _memory_limits(machine)), default=None)


def container_cpu_quota(machine: Machine) -> float | None:
    """CPUs' worth of time this process may use, for example 1.5; None without a quota."""
    quotas = []
    for version, group in _groups(machine, "cpu"):
        if version == 2:
            words = (machine.read_file(f"{group}/cpu.max") or "").split()
        else:
            words = [
                (machine.read_file(f"{group}/cpu.cfs_{name}_us") or "").strip()
                for name in ("quota", "period")
            ]
        # "max 100000" in version 2 and -1 in version 1 mean no quota; isdigit is false for both.
        if len(words) == 2 and all(word.isdigit() for word in words) and int(words[1]) > 0:
            quotas.append(int(words[0]) / int(words[1]))
    return min(quotas, default=None)


def _memory_limits(machine: Machine) -> Iterator[tuple[int, str, int]]:
    """Yield every limit above this process: (cgroup version, group folder, bytes)."""
    for version, group in _groups(machine, "memory"):
        # memory.high slows a group down until it is unusable, so it is a limit as hard as memory.max.
        for name in ("memory.max", "memory.high") if version == 2 else ("memory.limit_in_bytes",):
            text = (machine.read_file(f"{group}/{name}") or "").strip()
            # No limit is "max" in version 2, and in version 1 a number near 2^63, which loses against the
            # RAM.
            if text.isdigit():
                yield version, group, int(text)


def _group_usage(machine: Machine, group: str, version: int) -> int:
    """Return bytes a cgroup uses, without file cache the kernel gives back on demand: kubelet's "working
    set".
    """
    usage = (
        machine.read_file(f"{group}/memory.current" if version == 2 else f"{group}/memory.usage_in_bytes")
        or "0"
    )
    wanted = "inactive_file" if version == 2 else "total_inactive_file"
    reclaimable = 0
    for line in (machine.read_file(f"{group}/memory.stat") or "").splitlines():
        key, _, value = line.partition(" ")
        if key == wanted and value.strip().isdigit():
            reclaimable = int(value)
    return max(0, int(usage) - reclaimable)


def _groups(machine: Machine, controller: str) -> Iterator[tuple[int, str]]:
    """Yield every cgroup folder that holds this process, innermost first: (version, folder). Nothing outside
    Linux.
    """
    paths: dict[int, str] = {}
    for line in (machine.read_file("/proc/self/cgroup") or "").splitlines():
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if controller in controllers.split(","):
            paths[1] = path
        elif not controllers:
            paths[2] = path
    for line in (machine.read_file("/proc/self/mountinfo") or "").splitlines():
        # "36 35 98:0 ROOT MOUNT_POINT options … - TYPE source super_options" (man 5 proc)
        before, _, after = line.partition(" - ")
        fields, kind = before.split(), after.split()
        version = {"cgroup2": 2, "cgroup": 1}.get(kind[0] if kind else "", 0)
        if version not in paths or (version == 1 and controller not in kind[-1].split(",")):
            continue
        root, mount_point = fields[3], PurePosixPath(fields[4])
        # Inside a container the mount may show only a part of the host's tree, while the path is the host's.
        inner = paths[version].removeprefix(root.rstrip("/"))
        if ".." in inner or not paths[version].startswith(root):
            inner = "/"
        folder = mount_point / inner.strip("/")
        while True:
            yield version, str(folder)
            if folder == mount_point:
                break
            folder = folder.parent
