#!/usr/bin/env bash
# Writes requirements.txt anew from pyproject.toml: every dependency, pinned, with hashes, for every system and every Python
# that we support. Releases already pinned stay as they are, so that a new dependency changes only its own lines;
# `tools/lock.sh --upgrade` takes the newest of everything.
set -euo pipefail

unset CDPATH
cd "$(dirname "${BASH_SOURCE[0]}")/.."

if command -v uv >/dev/null 2>&1; then
  uv=uv
elif [ -x .venv/bin/uv ]; then
  uv=.venv/bin/uv
else
  echo "tools/lock.sh needs uv. Install it with: .venv/bin/python -m pip install uv" >&2
  exit 2
fi

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cp requirements.txt "$folder/requirements.txt" 2>/dev/null || true # what is pinned now

# Only the reading of metadata is wanted, never the download of another Python.
UV_PYTHON_DOWNLOADS=never "$uv" pip compile pyproject.toml --extra dev --constraint requirements-torch.txt \
  --universal --python-version 3.10 --generate-hashes --no-header --no-annotate --quiet \
  --output-file "$folder/requirements.txt" "$@" >/dev/null

# torch's own dependencies stay in the lock; torch and the gigabytes that only its CUDA build wants do not.
# They are named by pattern, since which packages these are changes with every release of torch.
{
  echo "# Made by tools/lock.sh from pyproject.toml; change that file, then run it again."
  echo "# torch is not here: see requirements-torch.txt."
  awk '/^[A-Za-z0-9]/ { keep = ($0 !~ /^((torch|triton)==|(nvidia|cuda)-)/) } keep' "$folder/requirements.txt"
} >"$folder/new.txt"
cat "$folder/new.txt" >requirements.txt
