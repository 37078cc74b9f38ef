#!/usr/bin/env bash
# Writes requirements.txt and requirements-extras.txt anew from pyproject.toml: every dependency, pinned, with hashes, for every
# system and every Python that we support. Releases already pinned stay as they are, so that a new dependency changes only its
# own lines; `tools/lock.sh --upgrade` takes the newest of everything.
#
# requirements.txt          what a set-up installs
# requirements-extras.txt   what the optional features need beyond that; continuous integration installs it, so that they are tested
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

resolve() { # OUTPUT ARGUMENT...; OUTPUT holds what is pinned now
  local output=$1
  shift
  # Only the reading of metadata is wanted, never the download of another Python.
  UV_PYTHON_DOWNLOADS=never "$uv" pip compile pyproject.toml --extra dev --constraint requirements-torch.txt \
    --universal --python-version 3.10 --generate-hashes --no-header --no-annotate --quiet --output-file "${output}" "$@" >/dev/null
}

# torch's own dependencies stay in the lock; torch and the gigabytes that only its CUDA build wants do not.
# They are named by pattern, since which packages these are changes with every release of torch.
without_torch() { awk '/^[A-Za-z0-9]/ { keep = ($0 !~ /^((torch|triton)==|(nvidia|cuda)-)/) } keep' "$1"; }

cp requirements.txt "$folder/requirements.txt" 2>/dev/null || true
resolve "$folder/requirements.txt" "$@"
{
  echo "# Made by tools/lock.sh from pyproject.toml; change that file, then run it again."
  echo "# torch is not here: see requirements-torch.txt."
  without_torch "$folder/requirements.txt"
} >"$folder/new.txt"

# What is in requirements.txt binds here, and is left out.
grep -E '^[A-Za-z0-9]' "$folder/requirements.txt" | sed 's/ \\$//' >"$folder/constraints.txt"
cat "$folder/requirements.txt" requirements-extras.txt >"$folder/extras.txt" 2>/dev/null || true
resolve "$folder/extras.txt" --constraint "$folder/constraints.txt" --extra korean --extra tensorboard --extra lm-eval "$@"
{
  echo "# Made by tools/lock.sh from pyproject.toml; change that file, then run it again."
  echo "# Install it after requirements.txt: .venv/bin/python -m pip install --no-deps --require-hashes -r requirements-extras.txt"
  without_torch "$folder/extras.txt" |
    awk 'NR == FNR { seen[$1]; next } /^[A-Za-z0-9]/ { keep = !($1 in seen) } keep' "$folder/constraints.txt" -
} >"$folder/new-extras.txt"

cat "$folder/new.txt" >requirements.txt
cat "$folder/new-extras.txt" >requirements-extras.txt
