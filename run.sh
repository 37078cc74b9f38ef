#!/usr/bin/env bash
# Sets up if needed, then trains; every argument goes to `nuguna train`. Results land in the folder this is called from.

[ -n "${BASH_VERSION:-}" ] || exec bash "$0" "$@" # started as `sh run.sh`
set -euo pipefail
unset CDPATH # it would change what `cd` prints

script=${BASH_SOURCE[0]}
while [ -h "${script}" ]; do
  folder=$(cd -P "$(dirname "${script}")" && pwd)
  script=$(readlink "${script}")
  case ${script} in /*) ;; *) script=${folder}/${script} ;; esac
done
root=$(cd -P "$(dirname "${script}")" && pwd)

# Standard output belongs to training: with --json it carries one document and nothing else.
"${BASH}" "${root}/setup_environment.sh" --quiet >&2
exec "${root}/.venv/bin/nuguna" train "$@"
