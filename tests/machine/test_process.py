"""What the process asks of the system before torch is loaded."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

STEP = """
import nuguna, resource
nuguna.detect  # the API, when first used
import torch
faults = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    torch.ones(2**24)  # 64 MiB, filled and freed; glibc keeps crumbs of the first seven apart
before = faults()
for _ in range(5):
    torch.ones(2**24)
print(faults() - before)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's allocator")
@pytest.mark.parametrize(("chosen", "is_kept"), [({}, True), ({"MALLOC_TRIM_THRESHOLD_": "131072"}, False)])
def test_freed_memory_is_used_again_unless_the_user_says_otherwise(chosen: dict[str, str], is_kept: bool) -> None:
    without = {name: value for name, value in os.environ.items() if not name.startswith(("MALLOC_", "GLIBC_TUNABLES"))}
    shown = subprocess.run([sys.executable, "-c", STEP], env={**without, **chosen}, capture_output=True, text=True, check=True)
    assert (int(shown.stdout) < 1000) == is_kept  # 64 MiB are 16,384 pages of 4 KiB


@pytest.mark.parametrize(("chosen", "used"), [({}, "64"), ({"LRU_CACHE_CAPACITY": "7"}, "7")])
def test_few_kernels_are_kept_unless_the_user_says_otherwise(chosen: dict[str, str], used: str) -> None:
    without = {name: value for name, value in os.environ.items() if not name.startswith("LRU_")}
    code = "import nuguna, os; nuguna.detect; print(os.environ['LRU_CACHE_CAPACITY'])"
    shown = subprocess.run([sys.executable, "-c", code], env={**without, **chosen}, capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == used
