#!/usr/bin/env bash
# Sets up if needed, then runs every check and the whole test suite.
#
#   ./run_tests.sh                  everything, within five minutes on two cores
#   ./run_tests.sh --fast           the checks of the code and the tests that take no time, within 45 seconds (a minute in a new clone)
#   ./run_tests.sh ARGUMENT...      only pytest, with these arguments

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

# What breaks most often in a day's work, in little time. A folder stands for all of its tests that are not marked slow.
fast=(
  tests/text tests/disk tests/base_models tests/plan/test_plan.py tests/plan/test_settings.py tests/plan/test_machines.py
  tests/data/test_turns.py tests/data/test_templated.py tests/data/test_options.py tests/data/test_doctor.py
  tests/data/test_read.py tests/data/test_similar.py tests/tokens/test_batch.py tests/tokens/test_encode.py
  tests/engine/test_loss.py tests/measure/test_evaluate.py tests/measure/test_paired.py tests/report/test_report.py
  tests/ui tests/program/test_docs.py
)
chosen=()
case ${1:-} in
  '') ;;
  --fast) chosen=(-m "not slow" "${fast[@]}") ;;
  *) exec "${bin}/pytest" -q "$@" ;;
esac

failed=
check() { # NAME COMMAND...
  local name=$1
  shift
  printf '== %s\n' "${name}"
  "$@" || failed="${failed:+${failed}, }${name}"
}

# pytest comes last: its closing line is the last one of a run that passes.
check "ruff check" "${bin}/ruff" check .
check "ruff format" "${bin}/ruff" format --check .
check mypy "${bin}/mypy"
check lint-imports "${bin}/lint-imports"
check pytest "${bin}/pytest" -q -n auto --maxprocesses 4 --dist loadfile ${chosen[@]+"${chosen[@]}"}

if [ -n "${failed}" ]; then
  printf 'FAILED: %s\n' "${failed}" >&2
  exit 1
fi
