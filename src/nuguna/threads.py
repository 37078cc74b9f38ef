"""How torch's threads wait for each other. It must be said before torch is loaded, so nothing else is imported here."""

from __future__ import annotations

import os


def share_cores() -> None:
    """Let a thread that waits spin only shortly before it sleeps, unless the user chose otherwise.

    By default libgomp's threads spin long, and keep the core from the very thread they wait for as soon as another program runs:
    two trainings at once on two cores ran at under 80 tokens/s each. Never spinning costs a fifth of the speed of a run alone,
    this middle way about a twentieth (docs/log.md). Other OpenMP libraries ignore it.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "10000")
