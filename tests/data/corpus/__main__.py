"""`python -m tests.data.corpus`: write `expected.json` anew. `python -m tests.data.corpus FOLDER`: write
every file into it.
"""

from __future__ import annotations

import sys
from pathlib import Path

from .all_cases import EXPECTED_FILE, all_cases, expected_json, write_files

if __name__ == "__main__":
    made = all_cases()
    if len(sys.argv) > 1:
        write_files(made, Path(sys.argv[1]))
    else:
        EXPECTED_FILE.write_bytes(expected_json(made).encode())
    print(len(made), "cases")
