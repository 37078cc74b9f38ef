#!/usr/bin/env bash
# Makes .venv beside this file with everything that nuguna needs. Safe to repeat, and quick when there is nothing to do.
#
#   ./setup_environment.sh [--quiet]       --quiet: say nothing when there is nothing to do
#
#   PYTHON=/path/to/python3.12             the Python to use
#   NUGUNA_TORCH=cpu|cuda                  the build of torch, when the machine should not be asked
#   NUGUNA_LANG=ko|en                      the language of the messages
#
# Without a network: pip's own settings hold here (PIP_FIND_LINKS=folder, PIP_NO_INDEX=1). The folder needs what
# requirements.txt names and torch's wheel, nothing else: packages are built with the setuptools of requirements.txt.
#
# Exit codes: 0 ready; 1 something broke (no network, disk full); 2 something is missing here (no Python); 130 interrupted.
# The bash of macOS is 3.2, so nothing newer is used.

[ -n "${BASH_VERSION:-}" ] || exec bash "$0" "$@" # started as `sh setup_environment.sh`
set -uo pipefail

# What this release of torch has wheels for.
oldest_minor=10
newest_minor=14
oldest_macos=14
torch_index=https://download.pytorch.org/whl
torch_cpu_gb=3 # free disk needed: torch 0.7, the rest 0.7, downloads and their cache 0.5, and room for a first run
torch_cuda_gb=10

unset CDPATH PYTHONHOME PYTHONPATH # they would change what `cd` prints and what Python finds
unset PIP_TARGET PIP_PREFIX PIP_ROOT
export PIP_USER=0 # a `user = yes` in someone's pip.conf cannot work inside a .venv
# One package comes as source only. Old pips would build it by a way that no longer works; new ones do not know the switch.
export PIP_USE_PEP517=1
export PIP_PROGRESS_BAR=off # its output goes to the log

started_in=${PWD}
# A relative path is meant from where this was started.
case ${PYTHON:-} in /*) ;; */*) PYTHON=${PWD}/${PYTHON} ;; esac

script=${BASH_SOURCE[0]}
while [ -h "${script}" ]; do
  folder=$(cd -P "$(dirname "${script}")" && pwd)
  script=$(readlink "${script}")
  case ${script} in /*) ;; *) script=${folder}/${script} ;; esac
done
root=$(cd -P "$(dirname "${script}")" && pwd) || exit 1
cd "${root}" || exit 1

venv=${root}/.venv
venv_python=${venv}/bin/python
log=${venv}/setup.log
stamp=${venv}/.setup-done             # written last: what this .venv was made for
unfinished=${venv}/.setup-unfinished  # there while packages are being written; found at the start, the .venv is half-made
lock=${venv}/.setup-lock

# ---------------------------------------------------------------------------------------------------------- what is said

korean=no
emoji=no

choose_language() {
  local locale=${LC_ALL:-${LC_MESSAGES:-${LANG:-}}}
  case ${NUGUNA_LANG:-auto} in
    ko) korean=yes ;;
    en) ;;
    *) case ${locale} in ko*) korean=yes ;; esac ;;
  esac
  case ${LC_ALL:-${LC_CTYPE:-${LANG:-}}} in
    *[Uu][Tt][Ff]-8 | *[Uu][Tt][Ff]8) if [ -t 1 ]; then emoji=yes; fi ;;
  esac
}

say() { # KOREAN ENGLISH
  if [ "${korean}" = yes ]; then printf '%s\n' "$1"; else printf '%s\n' "$2"; fi
}

step() { # EMOJI KOREAN ENGLISH
  if [ "${emoji}" = yes ]; then say "$1 $2" "$1 $3"; else say "$2" "$3"; fi
}

stop() { # EXIT_CODE KOREAN ENGLISH
  if [ "${emoji}" = yes ]; then say "❌ $2" "❌ $3" >&2; else say "$2" "$3" >&2; fi
  exit "$1"
}

# ---------------------------------------------------------------------------------------------------------- the machine

system=$(uname -s)
machine=$(uname -m)
apple_silicon=no
torch_kind= # mac, cuda or cpu

refuse_impossible() {
  case ${system} in
    MINGW* | MSYS* | CYGWIN*)
      stop 2 "Windows에서는 PowerShell에서 이 명령을 쓰세요: powershell -ExecutionPolicy Bypass -File setup_environment.ps1" \
        "On Windows, use this in PowerShell: powershell -ExecutionPolicy Bypass -File setup_environment.ps1" ;;
    Darwin)
      # Under Rosetta uname says x86_64 on Apple Silicon too; this says what the machine is.
      if [ "${machine}" = arm64 ] || [ "$(sysctl -n hw.optional.arm64 2>/dev/null)" = 1 ]; then
        apple_silicon=yes
      else
        stop 2 "Intel Mac에서는 쓸 수 없어요: PyTorch가 Intel Mac용을 더 이상 내놓지 않아요. Apple Silicon Mac, Linux 또는 Windows 컴퓨터에서 실행하세요." \
          "Intel Macs cannot be used: PyTorch is no longer made for them. Use an Apple Silicon Mac, or a Linux or Windows computer."
      fi
      refuse_old_macos ;;
  esac
}

refuse_old_macos() {
  local release
  release=$(sw_vers -productVersion 2>/dev/null)
  case ${release%%.*} in '' | *[!0-9]*) return ;; esac # what cannot be read is no reason to refuse
  if [ "${release%%.*}" -lt "${oldest_macos}" ]; then
    stop 2 "macOS ${release} 에서는 PyTorch를 쓸 수 없어요. macOS ${oldest_macos} 이상으로 올린 뒤 다시 실행하세요(시스템 설정 > 일반 > 소프트웨어 업데이트)." \
      "PyTorch cannot be used on macOS ${release}. Update to macOS ${oldest_macos} or newer (System Settings > General > Software Update), then run this again."
  fi
}

nvidia_answers() {
  local answer
  # WSL keeps the command outside PATH.
  answer=$(nvidia-smi -L 2>/dev/null) || answer=$(/usr/lib/wsl/lib/nvidia-smi -L 2>/dev/null) || return 1
  case ${answer} in *"GPU "*) return 0 ;; esac
  return 1
}

choose_torch() {
  case ${NUGUNA_TORCH:-auto} in
    cpu | cuda) torch_kind=${NUGUNA_TORCH} ;;
    auto) if nvidia_answers; then torch_kind=cuda; else torch_kind=cpu; fi ;;
    *) stop 2 "NUGUNA_TORCH=${NUGUNA_TORCH}: cpu, cuda, auto 가운데 하나여야 해요." \
      "NUGUNA_TORCH=${NUGUNA_TORCH}: it must be cpu, cuda or auto." ;;
  esac
  if [ "${system}" = Darwin ]; then torch_kind=mac; fi # one build for all of them
}

# ---------------------------------------------------------------------------------------------------------- the Python

python=             # the command found
python_version=     # its 3.x
found_unusable=     # "python3 3.8, ..."
found_rosetta=
found_without_venv=

# One word each: version, machine, bits, whether it can make a .venv. Python 2 must be able to read it too.
about_python='import sys, platform, struct
try:
    import venv, ensurepip
    can = "venv"
except ImportError:
    can = "none"
print("%d.%d %s %d %s" % (sys.version_info[0], sys.version_info[1], platform.machine() or "-", struct.calcsize("P") * 8, can))'

supported() { # VERSION
  case $1 in 3.*[!0-9]* | 3.) return 1 ;; 3.*) ;; *) return 1 ;; esac
  [ "${1#3.}" -ge "${oldest_minor}" ] && [ "${1#3.}" -le "${newest_minor}" ]
}

consider_python() { # COMMAND; true if it can be used
  local place facts version processor bits can
  place=$(command -v "$1" 2>/dev/null) || return 1
  # While .venv is activated, its own Python comes first; it cannot make itself anew.
  if [ "${place%/*}" -ef "${venv}/bin" ]; then return 1; fi
  # On a Mac without the developer tools this command is not Python: it opens a window that offers to install them.
  if [ "${system}:${place}" = Darwin:/usr/bin/python3 ] && ! xcode-select -p >/dev/null 2>&1; then return 1; fi
  # It may be a shim with no Python behind it, so that only its answer counts.
  facts=$("$1" -c "${about_python}" 2>/dev/null) || return 1
  read -r version processor bits can <<EOF
${facts}
EOF
  if [ "${bits}" != 64 ]; then
    found_unusable="${found_unusable:+${found_unusable}, }$1 ${version} (${bits} bit)"
  elif ! supported "${version}"; then
    found_unusable="${found_unusable:+${found_unusable}, }$1 ${version}"
  elif [ "${apple_silicon}" = yes ] && [ "${processor}" != arm64 ]; then
    found_rosetta="$1 ${version}"
  elif [ "${can}" != venv ]; then
    found_without_venv=${found_without_venv:-${version}}
  else
    python=$1
    python_version=${version}
    return 0
  fi
  return 1
}

find_python() {
  local candidate
  found_unusable='' found_rosetta='' found_without_venv=''
  if [ -n "${PYTHON:-}" ]; then
    if consider_python "${PYTHON}"; then return; fi
    step "⚠️ " "PYTHON=${PYTHON} 은(는) 쓸 수 없어 다른 Python을 찾아요." "PYTHON=${PYTHON} cannot be used; looking for another Python."
  fi
  for candidate in python3.13 python3.12 python3.11 python3.10 python3 python; do
    if consider_python "${candidate}"; then return; fi
  done
  explain_no_python
}

explain_no_python() {
  local range="3.${oldest_minor}–3.${newest_minor}" seen="" how_ko how_en
  if [ -n "${found_rosetta}" ]; then
    stop 2 "${found_rosetta} 은(는) Rosetta에서 도는 Intel용 Python이라 이 Mac의 GPU를 쓸 수 없어요. Apple Silicon용을 설치하세요: 'Rosetta로 열기'를 끈 터미널에서 arch -arm64 brew install python@3.12" \
      "${found_rosetta} is an Intel Python running under Rosetta and cannot use this Mac's GPU. Install the one for Apple Silicon, in a terminal without 'Open using Rosetta': arch -arm64 brew install python@3.12"
  fi
  if [ -n "${found_without_venv}" ]; then
    if command -v apt-get >/dev/null 2>&1; then
      stop 2 "Python ${found_without_venv} 에 venv 모듈이 없어요. 설치하세요: sudo apt install python${found_without_venv}-venv" \
        "Python ${found_without_venv} lacks the venv module. Install it: sudo apt install python${found_without_venv}-venv"
    fi
    stop 2 "Python ${found_without_venv} 에 venv 또는 ensurepip 모듈이 없어요. 둘 다 든 Python을 설치하거나, 있는 곳을 알려 주세요: PYTHON=/path/to/python3 ./setup_environment.sh" \
      "Python ${found_without_venv} lacks the module venv or ensurepip. Install a Python that has both, or say where one is: PYTHON=/path/to/python3 ./setup_environment.sh"
  fi
  if [ "${system}" = Darwin ]; then
    how_ko="brew install python@3.12"
  elif command -v apt-get >/dev/null 2>&1; then
    how_ko="sudo apt install python3 python3-venv"
  elif command -v dnf >/dev/null 2>&1; then
    how_ko="sudo dnf install python3.12"
  elif command -v zypper >/dev/null 2>&1; then
    how_ko="sudo zypper install python312"
  elif command -v pacman >/dev/null 2>&1; then
    how_ko="sudo pacman -S python"
  else
    how_ko="uv python install 3.12"
  fi
  how_en=${how_ko}
  if [ -n "${found_unusable}" ]; then
    # The system's own package may be just what is too old.
    seen=$(say " (찾은 것: ${found_unusable})" " (found: ${found_unusable})")
    how_ko="${how_ko} — 그래도 같은 버전이라면 uv python install 3.12 또는 conda로 설치한 뒤 PYTHON=/path/to/python3.12 ./setup_environment.sh"
    how_en="${how_en} — if that gives the same version, install one with uv python install 3.12 or conda, then PYTHON=/path/to/python3.12 ./setup_environment.sh"
  fi
  stop 2 "64비트 Python ${range} 이(가) 필요한데 없어요${seen}. 설치한 뒤 다시 실행하세요: ${how_ko}" \
    "A 64-bit Python ${range} is needed and was not found${seen}. Install one and run this again: ${how_en}"
}

# ---------------------------------------------------------------------------------------------------------- the .venv

pinned_torch() { sed -n 's/^torch==//p' requirements-torch.txt; }

wanted_state() { # what the stamp of a finished set-up holds
  printf 'root=%s\ntorch=%s\nfiles=%s\n' "${root}" "${torch_kind}" \
    "$(cat requirements.txt requirements-torch.txt pyproject.toml setup_environment.sh | cksum)"
}

venv_version() { # the 3.x of the Python in .venv, if it runs
  "${venv_python}" -I -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null
}

is_python_wished() { # VERSION; true unless PYTHON names a usable one of another version
  [ -z "${PYTHON:-}" ] || ! consider_python "${PYTHON}" || [ "${python_version}" = "$1" ]
}

is_ready() {
  local version
  [ -f "${stamp}" ] && [ ! -e "${unfinished}" ] && [ "$(cat "${stamp}")" = "$(wanted_state)" ] || return 1
  # The packages are looked for, not imported: that would take seconds.
  version=$("${venv_python}" -I -c 'import sys; from importlib.util import find_spec
print("%d.%d" % sys.version_info[:2]); sys.exit(not all(map(find_spec, ("torch", "transformers", "peft", "nuguna"))))' 2>/dev/null) || return 1
  is_python_wished "${version}"
}

is_venv_sound() { # true if packages can be installed into what is there
  local version
  if [ -e "${unfinished}" ]; then return 1; fi
  version=$(venv_version) && supported "${version}" && is_python_wished "${version}" || return 1
  # The commands in .venv/bin name the folder they were made for: a repository that was moved needs them anew.
  if [ -f "${stamp}" ] && [ "$(sed -n 's/^root=//p' "${stamp}")" != "${root}" ]; then return 1; fi
  "${venv_python}" -I -m pip --version >/dev/null 2>&1
}

need_disk() { # GIGABYTES
  local free_kb
  free_kb=$(df -Pk "${root}" 2>/dev/null | awk 'NR == 2 { print $4 }')
  case ${free_kb} in '' | *[!0-9]*) return ;; esac # what cannot be read is no reason to refuse
  if [ "${free_kb}" -lt $(($1 * 1024 * 1024)) ]; then
    stop 1 "디스크에 빈 공간이 $((free_kb / 1024)) MB뿐인데 $1 GB가 필요해요. 파일을 지우거나 이 폴더를 더 큰 디스크로 옮긴 뒤 다시 실행하세요: ${root}" \
      "Only $((free_kb / 1024)) MB are free on the disk and $1 GB are needed. Delete some files or move this folder to a larger disk, then run this again: ${root}"
  fi
}

stop_unwritable() {
  stop 1 "이 폴더에 쓸 수 없어요: ${root} — 쓸 수 있는 폴더로 옮기거나 권한을 얻으세요: sudo chown -R \"\$USER\" \"${root}\"" \
    "This folder cannot be written to: ${root} — move it to a folder of yours, or take it over: sudo chown -R \"\$USER\" \"${root}\""
}

make_venv() {
  [ -n "${python}" ] || find_python
  if [ "${torch_kind}" = cuda ]; then need_disk "${torch_cuda_gb}"; else need_disk "${torch_cpu_gb}"; fi
  step "🐍" "Python ${python_version} 으로 .venv를 만들어요." "Making .venv with Python ${python_version}."
  writing=yes
  : >"${unfinished}" || stop_unwritable
  find "${venv}" -mindepth 1 -maxdepth 1 ! -name "${lock##*/}" ! -name "${unfinished##*/}" -exec rm -rf {} + || stop_unwritable
  if ! run_logged "${python}" -m venv "${venv}"; then explain_failure; fi
}

# ---------------------------------------------------------------------------------------------------------- one at a time

command_of() { # PID; slim containers have no ps
  ps -ww -p "$1" -o args= 2>/dev/null || { tr '\0' ' ' <"/proc/$1/cmdline"; } 2>/dev/null
}

is_running() { # PID WORDS; a number is given to another program later on, so that the words in its command must fit
  case $1 in '' | *[!0-9]*) return 1 ;; esac
  [ -n "$2" ] || return 1
  kill -0 "$1" 2>/dev/null || return 1
  case $(command_of "$1") in *"$2"*) return 0 ;; esac
  return 1
}

end_orphan() { # PID; the pip of a set-up that was killed goes on by itself and would write into the new .venv
  local second=0
  while is_running "${1:-}" "nuguna=${venv}" && [ "${second}" -lt 10 ]; do
    if [ "${second}" -lt 5 ]; then kill "$1" 2>/dev/null; else kill -9 "$1" 2>/dev/null; fi
    sleep 1
    second=$((second + 1))
  done
}

take_lock() {
  local owner seconds=0 aside=${lock}.$$
  mkdir -p "${venv}" 2>/dev/null || stop_unwritable
  until mkdir "${lock}" 2>/dev/null; do
    [ -d "${lock}" ] || stop_unwritable
    owner=$(cat "${lock}/pid" 2>/dev/null)
    # Between its mkdir and its number a living one has nothing; five seconds are plenty for that.
    if is_running "${owner}" "$(cat "${lock}/command" 2>/dev/null)" || { [ -z "${owner}" ] && [ "${seconds}" -lt 5 ]; }; then
      if [ "${seconds}" -eq 1 ]; then
        step "⏳" "다른 준비 작업이 돌고 있어요(프로세스 ${owner}). 끝나기를 기다려요." "Another set-up is running (process ${owner}); waiting for it."
      fi
      sleep 1
      seconds=$((seconds + 1))
    elif mv "${lock}" "${aside}" 2>/dev/null; then
      # Two may find it dead at the same time; the later one must not take away the lock that the first has made since.
      if [ "$(cat "${aside}/pid" 2>/dev/null)" = "${owner}" ]; then
        end_orphan "$(cat "${aside}/child" 2>/dev/null)"
        rm -rf "${aside}"
      else
        mv "${aside}" "${lock}" 2>/dev/null
      fi
    fi
  done
  command_of "$$" >"${lock}/command"
  printf '%s\n' "$$" >"${lock}/pid"
  trap 'release_lock' EXIT
  trap 'step "✋" "멈췄어요. 다시 실행하면 처음부터 준비해요." "Stopped. Run it again to set up afresh." >&2; exit 130' INT TERM HUP
}

# shellcheck disable=SC2317 # the trap calls it
release_lock() {
  stop_ticking
  # Whatever wrote into .venv ended by itself, if only by failing: what is there can stay, and the next try goes on from it.
  if [ "${writing}" = no ] && "${venv_python}" -I -m pip --version >/dev/null 2>&1; then rm -f "${unfinished}"; fi
  if [ "$(cat "${lock}/pid" 2>/dev/null)" = "$$" ]; then rm -rf "${lock}"; fi
}

# ---------------------------------------------------------------------------------------------------------- the packages

log_start=1 # the line of the log at which the last command began
ticker=
writing=no # whether a command that writes into .venv is running, or was killed at it

tick() { # on a terminal: the seconds gone by and what pip is at, so that a long download is not taken for a hang
  local seconds=0 doing='Collecting|Downloading|Processing|Building|Installing|Successfully'
  while sleep 1 && kill -0 "$$" 2>/dev/null; do
    seconds=$((seconds + 1))
    printf '\r\033[K   %d s  %.60s' "${seconds}" "$(tail -n 20 "${log}" 2>/dev/null | grep -E "^ *(${doing})" | tail -n 1)"
  done
}

stop_ticking() {
  [ -n "${ticker}" ] || return 0
  kill "${ticker}" 2>/dev/null
  wait "${ticker}" 2>/dev/null
  ticker=
  printf '\r\033[K'
}

run_logged() { # COMMAND...
  local status=0
  printf '\n$ %s\n' "$*" >>"${log}" || stop_unwritable
  log_start=$(($(wc -l <"${log}") + 1))
  writing=yes
  if [ -t 1 ]; then tick & ticker=$!; fi
  # The number of the process is kept, so that the next set-up can end it should this one be killed.
  # shellcheck disable=SC2016
  "${BASH}" -c 'echo $$ >"$1"; shift; exec "$@"' run "${lock}/child" "$@" >>"${log}" 2>&1 </dev/null || status=$?
  stop_ticking
  if [ "${status}" -lt 128 ]; then writing=no; fi # beyond that a signal ended it
  return "${status}"
}

# -X does nothing; it lets end_orphan know this process again.
pip_install() { run_logged "${venv_python}" -I -X "nuguna=${venv}" -m pip --disable-pip-version-check --no-input install "$@"; }

last_output() { sed -n "${log_start},\$p" "${log}"; }

said() { last_output | grep -E -i "$1" >/dev/null; } # PATTERN

explain_failure() {
  local tail_of_log
  tail_of_log=$(last_output | tail -n 15)
  printf '%s\n' "${tail_of_log}" | sed 's/^/   /' >&2
  say "   전체 기록: ${log}" "   Everything: ${log}" >&2
  if said 'No space left|not enough space|Disk quota'; then
    stop 1 "디스크가 가득 찼어요. 파일을 지우거나(pip 캐시: ${venv_python} -m pip cache purge) TMPDIR를 빈 공간이 있는 폴더로 정한 뒤 다시 실행하세요." \
      "The disk is full. Delete some files (pip's cache: ${venv_python} -m pip cache purge), or set TMPDIR to a folder with room, then run this again."
  elif said 'CERTIFICATE_VERIFY_FAILED|SSLError|certificate verify'; then
    stop 1 "보안 연결을 확인하지 못했어요. 회사나 학교의 네트워크라면 그 인증서를 알려 주세요: PIP_CERT=/path/to/cert.pem ./setup_environment.sh" \
      "The secure connection could not be verified. In the network of a company or school, name its certificate: PIP_CERT=/path/to/cert.pem ./setup_environment.sh"
  elif said 'DO NOT MATCH THE HASHES'; then
    stop 1 "내려받은 파일이 고정된 해시와 달라요. 캐시를 비우고 다시 실행하세요: ${venv_python} -m pip cache purge" \
      "A downloaded file does not match its pinned hash. Empty the cache and run this again: ${venv_python} -m pip cache purge"
  elif said 'NewConnectionError|NameResolutionError|name resolution|ConnectTimeout|ReadTimeout|timed out|ProxyError|Connection(Reset|Refused|Aborted)?Error|Connection (refused|reset|broken)|Network is unreachable|IncompleteRead'; then
    stop 1 "인터넷에 연결하지 못했어요. 연결(회사라면 HTTPS_PROXY)을 확인하고 다시 실행하세요. 인터넷이 없는 컴퓨터라면 패키지 파일이 든 폴더를 알려 주세요: PIP_NO_INDEX=1 PIP_FIND_LINKS=/path ./setup_environment.sh" \
      "The internet could not be reached. Check the connection (in a company: HTTPS_PROXY) and run this again. On a computer without internet, name a folder with the package files: PIP_NO_INDEX=1 PIP_FIND_LINKS=/path ./setup_environment.sh"
  elif said 'Permission denied|Read-only file system'; then
    stop_unwritable
  elif said 'No matching distribution|Could not find a version'; then
    stop 1 "이 컴퓨터(${system} ${machine}, Python $(venv_version))에 맞는 패키지가 없어요. Linux라면 glibc 2.28 이상이어야 해요(Alpine은 안 돼요). 아니면 다른 Python으로 해 보세요: PYTHON=python3.12 ./setup_environment.sh" \
      "A package is not made for this machine (${system} ${machine}, Python $(venv_version)). On Linux it must have glibc 2.28 or newer (Alpine has none). Otherwise try another Python: PYTHON=python3.12 ./setup_environment.sh"
  fi
  stop 1 "설치하지 못했어요. 위의 까닭을 고친 뒤 다시 실행하세요. 처음부터 하려면: rm -rf \"${venv}\"" \
    "The installation failed. Mend what is said above and run this again. To start afresh: rm -rf \"${venv}\""
}

install_requirements() {
  local build_tools=${venv}/.build-tools.txt
  step "📦" "패키지를 설치해요(1~3분)." "Installing the packages (1 to 3 minutes)."
  # What comes as source is built with the locked setuptools, not with whatever is newest that day; so it goes first.
  awk '/^[A-Za-z0-9]/ { keep = /^setuptools==/ } keep' requirements.txt >"${build_tools}" || stop_unwritable
  pip_install --no-deps --require-hashes -r "${build_tools}" || explain_failure
  rm -f "${build_tools}"
  # --no-deps: the lock is complete, and nothing may bring in a torch of its own choice.
  pip_install --no-deps --require-hashes --no-build-isolation -r requirements.txt || explain_failure
}

torch_there() { # "VERSION cuda" or "VERSION cpu", read from a file of torch's: importing it would take seconds
  "${venv_python}" -I -c 'import importlib.util, pathlib, re
text = (pathlib.Path(importlib.util.find_spec("torch").origin).parent / "version.py").read_text()
version = re.search(r"^__version__ = .([0-9.]+[0-9])", text, re.M).group(1)
print(version, "cuda" if re.search(r"^cuda\b[^\n]*= *.[0-9]", text, re.M) else "cpu")' 2>/dev/null
}

index_answers() { # URL; five seconds tell, where pip itself would try for minutes
  [ -z "${PIP_NO_INDEX:-}" ] || return 1
  # An answer of any kind is one: certificates and refusals are for pip to judge, which has settings for them.
  "${venv_python}" -I -c 'import ssl, sys, urllib.error, urllib.request
try:
    urllib.request.urlopen(sys.argv[1], timeout=5)
except urllib.error.HTTPError:
    pass
except OSError as error:
    sys.exit(not isinstance(getattr(error, "reason", error), ssl.SSLError))' "$1" >/dev/null 2>&1
}

is_not_offered() { said 'No matching distribution|Could not find a version'; }

install_torch() {
  local version there
  version=$(pinned_torch)
  there=$(torch_there)
  case ${torch_kind}:${there} in
    mac:"${version} cpu" | cpu:"${version} cpu" | cuda:"${version} cuda") return ;;
    cpu:"${version} cuda")
      step "ℹ️ " "NVIDIA GPU가 없는데 CUDA용 torch가 설치되어 있어요. 쓰는 데는 문제없고, 몇 GB를 아끼려면: rm -rf \"${venv}\" 뒤에 다시 실행하세요." \
        "There is no NVIDIA GPU, but torch is the CUDA build. It works; to save some gigabytes: rm -rf \"${venv}\" and run this again."
      return ;;
    cuda:*)
      need_disk "${torch_cuda_gb}"
      step "🔥" "NVIDIA GPU용 torch ${version} 을(를) 설치해요(약 3 GB 내려받기)." "Installing torch ${version} for the NVIDIA GPU (a download of about 3 GB)."
      # The ordinary wheel is the CUDA build. A CPU build that lies about counts as newer, so it is ruled out by name.
      pip_install "torch==${version},!=${version}+cpu" || explain_failure
      return ;;
    mac:*)
      step "🔥" "Apple Silicon용 torch ${version} 을(를) 설치해요." "Installing torch ${version} for Apple Silicon."
      pip_install "torch==${version}" || explain_failure
      return ;;
  esac
  # Without an NVIDIA GPU, gigabytes of CUDA packages would be for nothing; the ordinary wheel for Linux brings them along.
  step "🔥" "CPU용 torch ${version} 을(를) 설치해요(약 200 MB)." "Installing torch ${version} for the CPU (about 200 MB)."
  if pip_install "torch==${version}+cpu"; then return; fi
  is_not_offered || explain_failure
  if index_answers "${torch_index}/cpu/torch/"; then
    if pip_install --index-url "${torch_index}/cpu" "torch==${version}+cpu"; then return; fi
    is_not_offered || explain_failure
  fi
  need_disk "${torch_cuda_gb}"
  step "⚠️ " "CPU용 torch를 얻을 수 없어 보통 torch를 설치해요. 쓰지 않을 CUDA까지 몇 GB를 내려받아요." \
    "The CPU build of torch is out of reach, so the ordinary one is installed: a download of gigabytes, with CUDA that stays unused."
  pip_install "torch==${version}" || explain_failure
}

install_nuguna() {
  # Built with the setuptools that is installed by now: nothing is downloaded.
  pip_install --no-deps --no-build-isolation --editable . || explain_failure
}

prove() {
  local gpu
  step "🔎" "설치한 것이 도는지 확인해요." "Checking that what was installed works."
  run_logged "${venv_python}" -I -m pip check || explain_failure
  run_logged "${venv_python}" -I -c 'import torch, nuguna; print("torch", torch.__version__, "gpu", torch.cuda.is_available())' || explain_failure
  gpu=$(last_output | tail -n 1)
  if [ "${torch_kind}" = cuda ]; then
    case ${gpu} in
      *"gpu True") ;;
      *) step "⚠️ " "torch가 NVIDIA GPU를 쓰지 못해요. GPU 드라이버를 최신으로 올린 뒤 컴퓨터를 다시 시작하세요. 그때까지는 CPU로 돌아요." \
        "torch cannot use the NVIDIA GPU. Update the GPU's driver and restart the computer; until then the CPU does the work." ;;
    esac
  fi
}

# ---------------------------------------------------------------------------------------------------------- in order

quiet=no

leave_if_ready() {
  is_ready || return 0
  if [ "${quiet}" = no ]; then step "✅" "이미 준비되어 있어요." "Everything is set up already."; fi
  exit 0
}

main() {
  local next="\"${root}/run.sh\""
  choose_language
  case ${1:-} in
    --quiet) quiet=yes ;;
    '') ;;
    -h | --help) sed -n '2,/^$/s/^#\{1,\} \{0,1\}//p' "${BASH_SOURCE[0]}"; exit 0 ;;
    *) stop 2 "모르는 인자예요: $1 (--quiet 만 있어요)" "Unknown argument: $1 (there is only --quiet)" ;;
  esac
  refuse_impossible
  choose_torch
  leave_if_ready
  is_venv_sound || find_python # before anything is written
  take_lock
  leave_if_ready # another one that we waited for may have done it
  if is_venv_sound; then : >"${unfinished}" || stop_unwritable; else make_venv; fi
  rm -f "${stamp}" || stop_unwritable
  install_requirements
  install_torch
  install_nuguna
  prove
  rm -f "${unfinished}"
  wanted_state >"${stamp}" || stop_unwritable
  if [ "${quiet}" = yes ]; then
    step "✅" "준비가 끝났어요." "Everything is set up."
  else
    if [ "${started_in}" -ef "${root}" ]; then next=./run.sh; fi
    step "✅" "준비가 끝났어요. 이제 실행하세요: ${next}" "Everything is set up. Now run: ${next}"
  fi
}

main "$@"
exit
