"""The corpus, made once for each process that runs tests: that takes 0.3 seconds."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.data.corpus.all_cases import all_cases, write_files


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with every file of the corpus. Tests only read it."""
    folder = tmp_path_factory.mktemp("corpus")
    write_files(all_cases(), folder)
    return folder
