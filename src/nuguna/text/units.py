"""Numbers with units as people read them, the same in every language. For sentences only: JSON carries plain
numbers.
"""

from __future__ import annotations


def format_bytes(num_bytes: int) -> str:
    """Write a size in binary units with the precision a decision needs: `79.2 GiB`, `512 MiB`, `0 B`."""
    size, unit = float(num_bytes), "B"
    for larger in ("KiB", "MiB", "GiB", "TiB"):
        # 1023.95 would be printed as "1024.0", so it already belongs to the next unit.
        if abs(size) < 1023.95:
            break
        size, unit = size / 1024, larger
    return f"{size:.1f} {unit}" if unit in ("GiB", "TiB") else f"{size:.0f} {unit}"


def format_seconds(seconds: float) -> str:
    """Write a duration as a clock does, hours:minutes:seconds: `0:02:05`, `12:00:00`."""
    minutes, whole_seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{whole_seconds:02}"
