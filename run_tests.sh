#!/usr/bin/env bash
# Sets up if needed, then runs every check and the whole test suite. With arguments: only pytest, with those arguments.

[ -n "${BASH_VERSION:-}" ] || exec bash "$0" "$@" # started as `sh run_tests.sh`
set -uo pipefail
unset CDPATH # it would change what `cd` prints

script=${BASH_SOURCE[0]}
while [ -h "${script}" ]; do
  folder=$(cd -P "$(dirname "${script}")" && pwd)
  script=$(readlink "${script}")
  case ${script} in /*) ;; *) script=${folder}/${script} ;; esac
done
root=$(cd -P "$(dirname "${script}")" && pwd) || exit 1

"${BASH}" "${root}/setup_environment.sh" --quiet || exit
cd "${root}" || exit 1
bin=${root}/.venv/bin

if [ $# -gt 0 ]; then exec "${bin}/pytest" -q "$@"; fi

failed=
check() { # NAME COMMAND...
  local name=$1
  shift
  printf '== %s\n' "${name}"
  "$@" || failed="${failed:+${failed}, }${name}"
}

# pytest comes last: its closing line is the last one of a run that passes.
check ruff "${bin}/ruff" check .
check mypy "${bin}/mypy"
check lint-imports "${bin}/lint-imports"
check pytest "${bin}/pytest" -q -n auto --maxprocesses 4 --dist loadfile

if [ -n "${failed}" ]; then
  printf 'FAILED: %s\n' "${failed}" >&2
  exit 1
fi
