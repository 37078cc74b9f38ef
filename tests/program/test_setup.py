"""The set-up scripts, run for real on made-up machines: fake `uname`, `nvidia-smi`, Pythons and pip, on a
PATH of their own.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
import tomlkit
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = ["setup_environment.sh", "run.sh", "run_tests.sh", "tools/lock.sh", ".ci/run"]
TORCH = (ROOT / "requirements-torch.txt").read_text().rpartition("torch==")[2].strip()

# All that the scripts may need of a system. Anything else on PATH, a real Python above all, is out of reach.
TOOLS = (
    "awk", "bash", "cat", "chmod", "cksum", "cp", "df", "dirname", "find", "grep", "mkdir", "mv", "ps", "readlink", "rm", "sed",
    "sh", "sleep", "tail", "tr", "wc",
)  # fmt: skip
COPIED = ("setup_environment.sh", "run.sh", "run_tests.sh", "pyproject.toml", "requirements.txt", "requirements-torch.txt")

# Stands for a Python outside .venv, and, copied there by its own `-m venv`, for the one inside. pip's
# installs are recorded in $CALLS, one a line; what FAKE_* variables say goes wrong.
FAKE_PYTHON = r"""#!/bin/bash
here=${0%/*}
version=${FAKE_VERSION:-3.12}
all=$*
case "$all" in
  *"-m venv "*)
    echo "venv ${0##*/}" >>"$CALLS"
    for last; do :; done
    mkdir -p "$last/bin" && cp "$0" "$last/bin/python" ;;
  *platform.machine*) echo "$version ${FAKE_MACHINE:-x86_64} ${FAKE_BITS:-64} ${FAKE_CAN:-venv}" ;;
  *urlopen*) exit "${FAKE_INDEX_STATUS:-1}" ;;
  *'"version.py"'*) cat "$here/torch" 2>/dev/null ;;
  *find_spec*) echo "$version"; [ -f "$here/nuguna" ] && [ -f "$here/torch" ] ;;
  *"import torch"*) echo "torch gpu ${FAKE_GPU:-False}" ;;
  *"pip --version"*) exit 0 ;;
  *" install "*)
    echo "${all#*--no-input }" >>"$CALLS"
    if [ -n "${FAKE_SLEEP:-}" ]; then sleep "$FAKE_SLEEP"; fi
    if [ -n "${FAKE_REFUSE:-}" ] && [[ "$all" =~ $FAKE_REFUSE ]]; then
      echo "${FAKE_ERROR:-ERROR: No matching distribution found for torch}"; exit 1
    fi
    case "$all" in
      *torch==@TORCH@+cpu) echo "@TORCH@ cpu" >"$here/torch" ;;
      *torch==*) echo "@TORCH@ ${FAKE_PLAIN_TORCH:-cuda}" >"$here/torch" ;;
      *--editable*)
        for command in nuguna ruff mypy lint-imports pytest; do
          printf '%s\n' '#!/bin/bash' 'name=${0##*/}; printf "%s in %s\n" "$name" "$PWD"; printf "[%s]\n" "$@"' \
            '[ "$name" != "${FAKE_FAILS:-}" ]' >"$here/$command"
          chmod +x "$here/$command"
        done ;;
    esac ;;
  *"sys.version_info"*) echo "$version" ;;
esac
""".replace("@TORCH@", TORCH)


class Machine:
    """A copy of the scripts in a folder with a space in its name, and a PATH with nothing but what a test
    puts there.
    """

    def __init__(self, folder: Path) -> None:
        self.repo = folder / "누구나 repo"
        self.bin = folder / "bin"
        self.calls_file = folder / "calls"
        self.repo.mkdir()
        self.bin.mkdir()
        self.calls_file.touch()
        for name in COPIED:
            shutil.copy(ROOT / name, self.repo / name)
        for name in TOOLS:
            found = shutil.which(name)
            if found:  # slim containers have no ps, and the scripts do without
                (self.bin / name).symlink_to(found)
        self.is_a("Linux", "x86_64")

    def command(self, name: str, code: str) -> None:
        (self.bin / name).unlink(missing_ok=True)  # never write through a link, to the system's own command
        (self.bin / name).write_text(code if code.startswith("#!") else f"#!/bin/bash\n{code}\n", encoding="utf-8")
        (self.bin / name).chmod(0o755)

    def is_a(self, system: str, processor: str) -> None:
        self.command("uname", f'case "$1" in -m) echo {processor} ;; *) echo {system} ;; esac')

    def has_python(self, name: str = "python3.12", **fake: str) -> None:
        settings = "".join(f"export FAKE_{key}='{value}'\n" for key, value in fake.items())
        self.command(name, FAKE_PYTHON.replace("\n", "\n" + settings, 1))

    def has_nvidia(self) -> None:
        self.command("nvidia-smi", 'echo "GPU 0: NVIDIA GeForce RTX 4090 (UUID: GPU-0)"')

    def environment(self, **env: str) -> dict[str, str]:
        return {"PATH": str(self.bin), "HOME": str(self.bin), "LANG": "C.UTF-8", "CALLS": str(self.calls_file), **env}

    def start(self, *command: object, cwd: Path | None = None, **env: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [str(part) for part in command], cwd=cwd or self.bin, env=self.environment(**env), start_new_session=True,
            # ignored in a shell's background
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, encoding="utf-8",
        )  # fmt: skip

    def run(self, *command: object, cwd: Path | None = None, **env: str) -> subprocess.CompletedProcess[str]:
        with self.start(*command, cwd=cwd, **env) as process:
            out, err = process.communicate(timeout=60)
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    def set_up(self, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
        return self.run(self.repo / "setup_environment.sh", *arguments, cwd=None, **env)

    def calls(self) -> list[str]:
        return self.calls_file.read_text(encoding="utf-8").splitlines()

    def torch_calls(self) -> list[str]:
        return [call.removeprefix("install ") for call in self.calls() if "torch==" in call]

    def forget_calls(self) -> None:
        self.calls_file.write_text("")

    def wait_for_call(self, words: str) -> None:
        deadline = time.monotonic() + 20
        while not any(words in call for call in self.calls()):
            assert time.monotonic() < deadline, f"{words!r} was never called: {self.calls()}"
            time.sleep(0.02)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


# ----------------------------------------------------------------------------------------------------------
# the Python


@pytest.mark.parametrize(
    ("env", "words"),
    [
        ({"NUGUNA_LANG": "en", "LANG": "ko_KR.UTF-8"}, "is needed and was not found"),
        ({"NUGUNA_LANG": "ko"}, "필요한데 없어요"),
        ({"LANG": "ko_KR.UTF-8"}, "필요한데 없어요"),
        ({"LANG": "ko_KR.UTF-8", "LC_ALL": "en_US.UTF-8"}, "is needed and was not found"),
    ],
)
def test_without_python_it_says_what_to_install_in_the_users_language(machine: Machine, env: dict[str, str], words: str) -> None:
    machine.command("apt-get", "exit 1")
    result = machine.set_up(**env)
    assert result.returncode == 2
    assert words in result.stderr
    assert "sudo apt install python3 python3-venv" in result.stderr
    assert not (machine.repo / ".venv").exists()


@pytest.mark.parametrize("fake", [{"VERSION": "3.9"}, {"VERSION": "3.15"}, {"VERSION": "2.7"}, {"VERSION": "3.12", "BITS": "32"}])
def test_a_python_that_torch_is_not_made_for_is_refused_by_its_version(machine: Machine, fake: dict[str, str]) -> None:
    machine.has_python("python3", **fake)
    result = machine.set_up()
    assert result.returncode == 2
    assert f"found: python3 {fake['VERSION']}" in result.stderr
    assert not (machine.repo / ".venv").exists()


def test_a_python_without_venv_gets_the_command_that_adds_it(machine: Machine) -> None:
    machine.command("apt-get", "exit 1")
    machine.has_python("python3", VERSION="3.11", CAN="none")
    result = machine.set_up()
    assert result.returncode == 2
    assert "sudo apt install python3.11-venv" in result.stderr


def test_a_shim_with_no_python_behind_it_is_passed_over(machine: Machine) -> None:
    machine.command("python3.13", "exit 127")
    machine.has_python("python3.11", VERSION="3.11")
    result = machine.set_up()
    assert result.returncode == 0, result.stderr
    assert machine.calls()[0] == "venv python3.11"


def test_the_python_that_is_asked_for_is_taken_and_an_unusable_one_is_named(machine: Machine) -> None:
    machine.has_python("python3.13", VERSION="3.13")
    machine.has_python("my-python", VERSION="3.10")
    assert machine.set_up(PYTHON="my-python").returncode == 0
    assert machine.calls()[0] == "venv my-python"

    machine.forget_calls()
    assert machine.set_up().returncode == 0
    assert machine.calls() == [], "without PYTHON, what is there stays"

    result = machine.set_up(PYTHON="python3.13")
    assert result.returncode == 0
    assert machine.calls()[0] == "venv python3.13", "another version makes .venv anew"

    (machine.repo / ".venv" / ".setup-unfinished").touch()
    result = machine.set_up(PYTHON="no-such-python")
    assert result.returncode == 0
    assert "PYTHON=no-such-python cannot be used" in result.stdout


def test_an_activated_venv_does_not_make_itself_anew(machine: Machine) -> None:
    machine.has_python("python3.11", VERSION="3.11")
    assert machine.set_up().returncode == 0
    venv_bin = machine.repo / ".venv" / "bin"
    shutil.copy(venv_bin / "python", venv_bin / "python3.13")
    (machine.repo / ".venv" / ".setup-unfinished").touch()
    machine.forget_calls()
    assert machine.set_up(PATH=f"{venv_bin}:{machine.bin}").returncode == 0
    assert machine.calls()[0] == "venv python3.11"


def test_on_apple_silicon_an_intel_python_is_refused(machine: Machine) -> None:
    machine.is_a("Darwin", "arm64")
    machine.has_python(MACHINE="x86_64")
    result = machine.set_up()
    assert result.returncode == 2
    assert "Rosetta" in result.stderr and "arch -arm64 brew install python@3.12" in result.stderr

    machine.is_a("Darwin", "x86_64")  # what uname says in a terminal that itself runs under Rosetta
    machine.command("sysctl", "echo 1")
    assert "Rosetta" in machine.set_up().stderr


@pytest.mark.parametrize(
    ("processor", "release", "words"), [("x86_64", "15.0", "Intel Macs"), ("arm64", "13.6.1", "macOS 13.6.1")]
)
def test_macs_that_torch_is_not_made_for_are_refused(machine: Machine, processor: str, release: str, words: str) -> None:
    machine.is_a("Darwin", processor)
    machine.command("sw_vers", f"echo {release}")
    machine.has_python(MACHINE=processor)
    result = machine.set_up()
    assert result.returncode == 2
    assert words in result.stderr


# ----------------------------------------------------------------------------------------------------------
# the right torch

CPU = f"torch=={TORCH}+cpu"
CPU_INDEX = f"--index-url https://download.pytorch.org/whl/cpu torch=={TORCH}+cpu"
PLAIN = f"torch=={TORCH}"
CUDA = f"torch=={TORCH},!={TORCH}+cpu"
NO_CPU_WHEEL = {"FAKE_REFUSE": re.escape("+cpu")}


@pytest.mark.parametrize(
    ("system", "processor", "nvidia", "env", "attempts"),
    [
        ("Linux", "x86_64", False, {}, [CPU]),
        ("Linux", "aarch64", False, {}, [CPU]),
        ("Linux", "x86_64", False, {"FAKE_REFUSE": re.escape(" install " + CPU), "FAKE_INDEX_STATUS": "0"}, [CPU, CPU_INDEX]),
        ("Linux", "x86_64", False, {**NO_CPU_WHEEL, "FAKE_INDEX_STATUS": "0"}, [CPU, CPU_INDEX, PLAIN]),
        ("Linux", "x86_64", False, {**NO_CPU_WHEEL, "FAKE_INDEX_STATUS": "1"}, [CPU, PLAIN]),
        ("Linux", "x86_64", False, {**NO_CPU_WHEEL, "FAKE_INDEX_STATUS": "0", "PIP_NO_INDEX": "1"}, [CPU, PLAIN]),
        ("Linux", "x86_64", True, {}, [CUDA]),
        ("Linux", "x86_64", True, {"NUGUNA_TORCH": "cpu"}, [CPU]),
        ("Darwin", "arm64", False, {"FAKE_PLAIN_TORCH": "cpu"}, [PLAIN]),
    ],
)
def test_the_build_of_torch_fits_the_machine(
    machine: Machine, system: str, processor: str, nvidia: bool, env: dict[str, str], attempts: list[str]
) -> None:
    machine.is_a(system, processor)
    machine.command("df", "printf 'h\\n/dev/x 1 1 99999999 1%% /\\n'")
    machine.has_python(MACHINE=processor)
    if nvidia:
        machine.has_nvidia()
    result = machine.set_up(**env)
    assert result.returncode == 0, result.stderr
    assert machine.torch_calls() == attempts
    # On Linux the ordinary build brings gigabytes of CUDA: without an NVIDIA GPU that is never done without a
    # word.
    assert ("gigabytes" in result.stdout) == (attempts[-1] == PLAIN and system == "Linux")


def test_an_nvidia_command_that_fails_counts_as_no_gpu(machine: Machine) -> None:
    machine.has_python()
    machine.command("nvidia-smi", 'echo "GPU driver not loaded"; exit 9')
    assert machine.set_up().returncode == 0
    assert machine.torch_calls() == [CPU]


def test_a_download_that_breaks_does_not_lead_to_the_gigabytes(machine: Machine) -> None:
    machine.has_python()
    result = machine.set_up(**NO_CPU_WHEEL, FAKE_ERROR="ConnectionResetError: [Errno 104]", FAKE_INDEX_STATUS="0")
    assert result.returncode == 1
    assert machine.torch_calls() == [CPU]


def test_a_torch_of_the_wrong_kind_is_replaced_or_mentioned(machine: Machine) -> None:
    machine.command("df", "printf 'h\\n/dev/x 1 1 99999999 1%% /\\n'")
    machine.has_python()
    assert machine.set_up().returncode == 0
    machine.has_nvidia()
    machine.forget_calls()
    result = machine.set_up(FAKE_GPU="True")
    assert machine.torch_calls() == [CUDA], "the CPU build is replaced once there is a GPU"
    assert "driver" not in result.stdout

    (machine.bin / "nvidia-smi").unlink()
    machine.forget_calls()
    result = machine.set_up()
    assert result.returncode == 0
    assert machine.torch_calls() == [], "the CUDA build works without a GPU too"
    assert "CUDA build" in result.stdout


def test_a_gpu_that_torch_cannot_use_is_said(machine: Machine) -> None:
    machine.command("df", "printf 'h\\n/dev/x 1 1 99999999 1%% /\\n'")
    machine.has_python()
    machine.has_nvidia()
    assert "Update the GPU's driver" in machine.set_up(FAKE_GPU="False").stdout


def test_locked_packages_come_first_and_with_their_hashes(machine: Machine) -> None:
    machine.has_python()
    assert machine.set_up().returncode == 0
    _, build_tools, requirements, torch, nuguna = machine.calls()
    assert "--require-hashes" in build_tools
    assert {"--no-deps", "--require-hashes", "--no-build-isolation", "requirements.txt"} <= set(requirements.split())
    assert torch == f"install {CPU}"
    assert {"--no-deps", "--no-build-isolation", "--editable"} <= set(nuguna.split())


# ----------------------------------------------------------------------------------------------------------
# repeating, mending


def test_repeating_does_nothing_and_is_quick(machine: Machine) -> None:
    machine.has_python()
    assert "Everything is set up" in machine.set_up().stdout
    machine.forget_calls()
    begin = time.monotonic()
    result = machine.set_up("--quiet")
    assert time.monotonic() - begin < 3
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
    assert "already" in machine.set_up().stdout
    assert machine.calls() == []


def test_new_requirements_are_installed_into_the_same_venv(machine: Machine) -> None:
    machine.has_python()
    machine.set_up()
    machine.forget_calls()
    with (machine.repo / "requirements.txt").open("a", encoding="utf-8") as file:
        file.write("# changed\n")
    assert machine.set_up().returncode == 0
    assert any("requirements.txt" in call for call in machine.calls())
    assert not any(call.startswith("venv") for call in machine.calls())


def test_a_package_that_went_missing_is_brought_back(machine: Machine) -> None:
    machine.has_python()
    machine.set_up()
    (machine.repo / ".venv" / "bin" / "torch").unlink()
    assert machine.set_up().returncode == 0
    assert (machine.repo / ".venv" / "bin" / "torch").exists()


def test_a_repository_that_was_moved_gets_a_new_venv(machine: Machine) -> None:
    machine.has_python()
    machine.set_up()
    machine.forget_calls()
    machine.repo = machine.repo.rename(machine.repo.with_name("moved"))
    assert machine.set_up().returncode == 0
    assert machine.calls()[0].startswith("venv")


def is_at_work(pid: int) -> bool:
    """True for a living process; a dead one that nobody has collected yet still answers to `kill -0`."""
    if Path("/proc/self/stat").exists():  # slim containers have no ps
        stat = Path(f"/proc/{pid}/stat")
        return stat.exists() and stat.read_text().rpartition(")")[2].split()[0] not in "ZX"
    state = subprocess.run(["ps", "-p", str(pid), "-o", "stat="], capture_output=True, text=True, check=False).stdout.strip()
    return bool(state) and state[0] != "Z"


def test_a_killed_set_up_is_mended_and_its_pip_is_ended(machine: Machine) -> None:
    machine.has_python()
    with machine.start(machine.repo / "setup_environment.sh", FAKE_SLEEP="30") as process:
        machine.wait_for_call("install")
        orphan = int((machine.repo / ".venv" / ".setup-lock" / "child").read_text())
        os.kill(process.pid, signal.SIGKILL)
        assert is_at_work(orphan), "it goes on without its parent"
        machine.forget_calls()
        result = machine.set_up()
        assert result.returncode == 0, result.stderr
        assert not is_at_work(orphan)
        os.killpg(process.pid, signal.SIGKILL)  # the fake pip's `sleep`
    assert machine.calls()[0].startswith("venv"), "packages may be half-written: .venv is made anew"
    assert machine.set_up("--quiet").stdout == ""


def test_an_interrupted_set_up_says_so_and_is_mended(machine: Machine) -> None:
    machine.has_python()
    with machine.start(machine.repo / "setup_environment.sh", FAKE_SLEEP="30") as process:
        machine.wait_for_call("install")
        os.killpg(process.pid, signal.SIGINT)  # what Ctrl-C does
        _, err = process.communicate(timeout=20)
    assert process.returncode == 130
    assert "Stopped" in err
    assert not (machine.repo / ".venv" / ".setup-lock").exists()
    machine.forget_calls()
    assert machine.set_up().returncode == 0
    assert machine.calls()[0].startswith("venv")


def test_after_a_clean_failure_the_next_one_goes_on(machine: Machine) -> None:
    machine.has_python()
    assert machine.set_up(FAKE_REFUSE="--editable").returncode == 1
    machine.forget_calls()
    assert machine.set_up().returncode == 0
    assert not any(call.startswith("venv") for call in machine.calls())
    assert machine.torch_calls() == []


def test_two_at_the_same_time_do_the_work_once(machine: Machine) -> None:
    machine.has_python()
    with machine.start(machine.repo / "setup_environment.sh", FAKE_SLEEP="0.5") as first:
        machine.wait_for_call("install")
        second = machine.set_up()
        first.communicate(timeout=20)
    assert (first.returncode, second.returncode) == (0, 0)
    assert "Another set-up is running" in second.stdout
    assert len(machine.calls()) == 5, "one venv, and one install each of build tools, requirements, torch and nuguna"


def test_a_lock_left_by_a_dead_process_is_taken_over(machine: Machine) -> None:
    machine.has_python()
    lock = machine.repo / ".venv" / ".setup-lock"
    lock.mkdir(parents=True)
    (lock / "pid").write_text(f"{os.getpid()}\n")  # a number that lives, but belongs to another program by now
    (lock / "command").write_text("bash setup_environment.sh of long ago\n")
    assert machine.set_up().returncode == 0
    assert not lock.exists()


# ----------------------------------------------------------------------------------------------------------
# what goes wrong


@pytest.mark.parametrize(
    ("error", "fix"),
    [
        ("Failed to establish a new connection: NameResolutionError", "Check the connection"),
        ("OSError: [Errno 28] No space left on device", "The disk is full"),
        ("SSLError(SSLCertVerificationError: CERTIFICATE_VERIFY_FAILED", "PIP_CERT="),
        ("THESE PACKAGES DO NOT MATCH THE HASHES", "cache purge"),
        ("OSError: [Errno 13] Permission denied", "cannot be written to"),
        ("error: something that nobody thought of", "Mend what is said above"),
    ],
)
def test_a_failure_shows_its_last_lines_and_the_fix(machine: Machine, error: str, fix: str) -> None:
    machine.has_python()
    result = machine.set_up(FAKE_REFUSE="requirements.txt", FAKE_ERROR=error)
    assert result.returncode == 1
    assert fix in result.stderr
    assert error in result.stderr
    assert error in (machine.repo / ".venv" / "setup.log").read_text(encoding="utf-8")


def test_a_full_disk_is_refused_before_anything_is_installed(machine: Machine) -> None:
    machine.has_python()
    machine.command("df", "printf 'h\\n/dev/x 1 1 1048576 1%% /\\n'")
    result = machine.set_up()
    assert result.returncode == 1
    assert "Only 1024 MB are free" in result.stderr and "3 GB are needed" in result.stderr
    assert machine.calls() == []


def test_an_unknown_argument_is_refused(machine: Machine) -> None:
    result = machine.set_up("--fast")
    assert result.returncode == 2
    assert "--fast" in result.stderr


# ----------------------------------------------------------------------------------------------------------
# run.sh, run_tests.sh


@pytest.mark.parametrize("through", ["direct", "bash", "sh", "symlink"])
def test_run_passes_its_arguments_on_and_stays_where_it_was_called(machine: Machine, tmp_path: Path, through: str) -> None:
    machine.has_python()
    elsewhere = tmp_path / "my work"
    elsewhere.mkdir()
    (elsewhere / "links").mkdir()
    (elsewhere / "links" / "go").symlink_to(machine.repo / "run.sh")
    commands: dict[str, list[object]] = {"direct": [machine.repo / "run.sh"], "symlink": ["links/go"]}
    command = commands.get(through, [through, machine.repo / "run.sh"])
    result = machine.run(*command, "--data", "my file.jsonl", "", "*", "--json", cwd=elsewhere)
    assert result.returncode == 0, result.stderr
    # Standard output is the command's alone.
    first, *arguments = result.stdout.splitlines()
    assert first == f"nuguna in {elsewhere}"
    assert arguments == ["[train]", "[--data]", "[my file.jsonl]", "[]", "[*]", "[--json]"]
    assert "Everything is set up" in result.stderr


def test_run_stops_with_the_code_of_a_failed_set_up(machine: Machine) -> None:
    result = machine.run(machine.repo / "run.sh")
    assert result.returncode == 2
    assert result.stdout == ""


def test_run_tests_runs_every_check_and_names_what_failed(machine: Machine) -> None:
    machine.has_python()
    commands = ["ruff", "ruff", "mypy", "lint-imports", "pytest"]
    result = machine.run(machine.repo / "run_tests.sh")
    assert result.returncode == 0, result.stderr
    assert re.findall(r"^(\S+) in (.*)$", result.stdout, re.M) == [(name, str(machine.repo)) for name in commands]
    assert "[check]\n[.]\n" in result.stdout and "[format]\n[--check]\n[.]\n" in result.stdout
    words = ["-q", "-n", "auto", "--maxprocesses", "4", "--dist", "loadfile"]
    last = "pytest in " + str(machine.repo) + "\n" + "".join(f"[{word}]\n" for word in words)
    assert result.stdout.endswith(last), "pytest's closing line is the last"
    for name, said in {
        "ruff": "ruff check, ruff format",
        "mypy": "mypy",
        "lint-imports": "lint-imports",
        "pytest": "pytest",
    }.items():
        result = machine.run(machine.repo / "run_tests.sh", FAKE_FAILS=name)
        assert result.returncode == 1
        assert result.stderr == f"FAILED: {said}\n"
        assert len(re.findall(r" in ", result.stdout)) == 5, "one failure does not hide the next"


def test_the_fast_tests_are_some_that_exist(machine: Machine) -> None:
    machine.has_python()
    result = machine.run(machine.repo / "run_tests.sh", "--fast")
    assert re.findall(r"^(\S+) in ", result.stdout, re.M) == ["ruff", "ruff", "mypy", "lint-imports", "pytest"]
    words = re.findall(r"^\[(.*)\]$", result.stdout.partition("pytest in ")[2], re.M)
    paths = [word for word in words if word.startswith("tests/")]
    assert len(paths) > 10 and all((ROOT / path).exists() for path in paths)
    assert words[words.index("-m") + 1] == "not slow"


def test_run_tests_with_arguments_runs_only_pytest(machine: Machine) -> None:
    machine.has_python()
    machine.set_up()
    result = machine.run(machine.repo / "run_tests.sh", "-k", "two words")
    assert result.stdout.splitlines() == [f"pytest in {machine.repo}", "[-q]", "[-k]", "[two words]"]
    assert machine.run(machine.repo / "run_tests.sh", "-x", FAKE_FAILS="pytest").returncode == 1


# ----------------------------------------------------------------------------------------------------------
# the files themselves


@pytest.mark.parametrize("script", SCRIPTS)
def test_shell_scripts_are_sound(script: str) -> None:
    subprocess.run(["bash", "-n", ROOT / script], check=True)
    assert os.access(ROOT / script, os.X_OK)
    if shutil.which("shellcheck"):
        subprocess.run(["shellcheck", ROOT / script], check=True)
    # The bash of macOS is 3.2.
    newer = r"\b(mapfile|readarray|declare -A|local -n)\b|&>>|\|&|\$\{\w+(,,|\^\^|@)"
    assert not re.search(newer, (ROOT / script).read_text(encoding="utf-8"))


@pytest.mark.parametrize("script", ["setup_environment.ps1", "run.ps1"])
def test_powershell_scripts_start_with_the_mark_that_windows_needs(script: str) -> None:
    assert (ROOT / script).read_bytes().startswith(b"\xef\xbb\xbf")


def test_both_set_ups_know_the_same_limits() -> None:
    bash = (ROOT / "setup_environment.sh").read_text(encoding="utf-8")
    powershell = (ROOT / "setup_environment.ps1").read_text(encoding="utf-8-sig")
    for in_bash, in_powershell in [
        ("oldest_minor", "OldestMinor"),
        ("newest_minor", "NewestMinor"),
        ("torch_cpu_gb", "TorchCpuGB"),
        ("torch_cuda_gb", "TorchCudaGB"),
    ]:
        ours = re.search(rf"^{in_bash}=(\d+)", bash, re.M)
        theirs = re.search(rf"^\${in_powershell} = (\d+)", powershell, re.M)
        assert ours and theirs and ours.group(1) == theirs.group(1), in_bash
    for text in (bash, powershell):
        assert TORCH not in text, "requirements-torch.txt is the one place that names the release"
        assert set(re.findall(r"https?://[^/\s'\"]+", text)) == {"https://download.pytorch.org"}


def locked(python: str, system: str, file: str = "requirements.txt") -> dict[str, str]:
    """Name and version of what a lock installs on a machine."""
    packages: dict[str, str] = {}
    environment = {
        "python_version": python,
        "python_full_version": f"{python}.5",
        "sys_platform": system,
        "platform_system": {"linux": "Linux", "darwin": "Darwin", "win32": "Windows"}[system],
        "platform_machine": {"linux": "x86_64", "darwin": "arm64", "win32": "AMD64"}[system],
        "os_name": {"linux": "posix", "darwin": "posix", "win32": "nt"}[system],
    }
    for line in re.findall(r"^[A-Za-z0-9].*(?= \\$)", (ROOT / file).read_text(encoding="utf-8"), re.M):
        requirement = Requirement(line)
        if requirement.marker is None or requirement.marker.evaluate(environment):
            assert requirement.name not in packages, f"{requirement.name} is there twice on Python {python}, {system}"
            packages[requirement.name] = str(requirement.specifier).removeprefix("==")
    return packages


@pytest.mark.parametrize("system", ["linux", "darwin", "win32"])
@pytest.mark.parametrize("python", ["3.10", "3.11", "3.12", "3.13", "3.14"])
def test_requirements_satisfy_pyproject_everywhere(python: str, system: str) -> None:
    project = tomlkit.parse((ROOT / "pyproject.toml").read_text(encoding="utf-8")).unwrap()["project"]
    packages = {**locked(python, system), "torch": TORCH}
    for line in project["dependencies"] + project["optional-dependencies"]["dev"]:
        wanted = Requirement(line)
        if wanted.marker is None or wanted.marker.evaluate({"python_version": python, "sys_platform": system}):
            assert wanted.specifier.contains(packages[wanted.name.lower()]), f"{line}: tools/lock.sh was not run since it changed"
    # torch is installed last, and finds there all that its CPU build wants.
    assert {"filelock", "fsspec", "jinja2", "mpmath", "networkx", "setuptools", "sympy", "typing-extensions"} <= set(packages)


@pytest.mark.parametrize("system", ["linux", "darwin", "win32"])
@pytest.mark.parametrize("python", ["3.10", "3.12", "3.14"])
def test_the_lock_of_the_extras_adds_to_the_other_and_changes_nothing_of_it(python: str, system: str) -> None:
    extras = tomlkit.parse((ROOT / "pyproject.toml").read_text(encoding="utf-8")).unwrap()["project"]["optional-dependencies"]
    base, more = locked(python, system), locked(python, system, "requirements-extras.txt")
    assert not base.keys() & more.keys()
    for line in [*extras["korean"], *extras["tensorboard"], *extras["lm-eval"]]:
        wanted = Requirement(line)
        assert wanted.specifier.contains(more[wanted.name]), f"{line}: tools/lock.sh was not run since it changed"


@pytest.mark.parametrize("file", ["requirements.txt", "requirements-extras.txt"])
def test_requirements_hold_nothing_of_one_machine(file: str) -> None:
    text = (ROOT / file).read_text(encoding="utf-8")
    entries = re.split(r"^(?=[A-Za-z0-9])", text, flags=re.M)[1:]
    assert all("==" in entry and "--hash=sha256:" in entry for entry in entries)
    assert not re.search(r"^(torch|triton|nvidia-\S+|cuda-\S+)==", text, re.M), "only the CUDA build of torch wants these"
    assert not re.search(r"https?:|file:|--index-url|--find-links|^/", text, re.M)
