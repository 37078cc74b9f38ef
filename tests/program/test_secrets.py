"""No password and no key in anything that leaves: screen, JSON, log, files of a run. And what our own code
may never contain.
"""

from __future__ import annotations

import ast
import html
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from huggingface_hub import constants

from nuguna.commands.frame import print_json
from nuguna.disk.run_folder import write_json, write_text
from nuguna.model import engine as engine_module
from nuguna.text.redaction import HIDDEN, redact, redact_document
from nuguna.ui.logfile import LogFile
from tests.conftest import write_pairs
from tests.program.test_cli import nuguna

ROOT = Path(__file__).parents[2]
CANARIES = {
    "HF_TOKEN": "hf_" + "canaryCanaryCanary1234567",
    "HUGGING_FACE_HUB_TOKEN": "plain-canary-of-a-hub",
    "OPENAI_API_KEY": "sk-proj-canary_canary-canary1234",
    "MY_PASSWORD": 'ca"nary&<한글>\\word',
    "BACKUP_SECRET": "canary/of/a/backup",
}
# what has the shape of a key, whoever set it
KEYS = [
    "hf_" + "abcdefghijABCDEFGHIJ12",
    "sk-" + "abcdefghij0123456789abcd",
    "ghp_" + "a1" * 18,
    "github_pat_" + "a1_" * 12,
    "AKIA" + "ABCDEFGHIJ234567",
    "xoxb-" + "1234567890-abcdef",
    "AIza" + "a" * 35,
]


@pytest.fixture
def canaries(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """Secrets in the environment and in the hub's token file."""
    for name, value in CANARIES.items():
        monkeypatch.setenv(name, value)
    (tmp_path / "hub").mkdir()
    (tmp_path / "hub" / "token").write_text("token-file-canary\n")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))
    return [*CANARIES.values(), "token-file-canary"]


def forms(secret: str) -> set[str]:
    """Return how a secret can stand in a file."""
    return {secret, html.escape(secret), json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1]}


def leaks(text: str, secrets: list[str]) -> list[str]:
    return [form for secret in secrets for form in forms(secret) if form in text]


def files_of(folder: Path) -> Iterator[tuple[str, str]]:
    for path in folder.rglob("*"):
        if path.is_file():
            yield path.name, path.read_bytes().decode("utf-8", "ignore")


@pytest.mark.parametrize("key", KEYS, ids=lambda key: key[:4])
def test_what_looks_like_a_key_is_hidden(key: str) -> None:
    assert redact(f"see {key}, please") == f"see {HIDDEN}, please"
    assert redact(f'"{key}"') == f'"{HIDDEN}"'


def test_the_password_of_an_address_is_hidden_and_the_rest_stays() -> None:
    assert redact("https://me:hunter2@hub.example/a?b=c@d") == f"https://{HIDDEN}@hub.example/a?b=c@d"
    for harmless in (
        "https://hub.example/owner/name@main",
        "write to kim@example.com",
        "task-sk-1",
        "hf_short",
        "sk-learn",
        "/a/b",
    ):
        assert redact(harmless) == harmless


def test_short_values_and_other_variables_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHORT_TOKEN", "abc")
    monkeypatch.setenv("TOKENIZERS_PARALLELISM", "true-and-long-enough")
    assert redact("abc true-and-long-enough") == "abc true-and-long-enough"


def test_doors_hide_every_form_and_documents_stay_documents(
    canaries: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    document = {"a": [{secret: f"x {secret} y"} for secret in canaries], "number": 1.5, "nothing": None, "yes": True}
    print_json(document)
    write_json(tmp_path / "report.json", document)
    for text in (capsys.readouterr().out, (tmp_path / "report.json").read_text(encoding="utf-8")):
        assert not leaks(text, canaries)
        assert json.loads(text) == redact_document(document)
        assert json.loads(text)["number"] == 1.5 and json.loads(text)["yes"] is True
    page = "".join(f"<p>{html.escape(secret)}</p><script>x = {json.dumps(secret)}</script>" for secret in canaries)
    write_text(tmp_path / "report.html", page)
    assert not leaks((tmp_path / "report.html").read_text(encoding="utf-8"), canaries)


def test_a_run_and_its_crash_hold_no_secret(
    canaries: list[str], tmp_path: Path, model_folder: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The name of the data is a secret, so that plan, screen, log, report, page and card would all carry
    it.
    """
    secrets = [CANARIES["HF_TOKEN"], KEYS[1]]
    data = write_pairs(tmp_path / f"{secrets[0]}-{secrets[1]}.jsonl", 12)
    place = tmp_path / "work"
    place.mkdir()
    (place / "few.toml").write_text("heldout_examples = 2\n")
    words = ["--model", str(model_folder("llama")), "--data", str(data), "--plan", "few.toml", "--max-steps", "1"]
    shown = [nuguna(place, "train", *words), nuguna(place, "plan", *words, "--json"), nuguna(place, "data", str(data))]
    assert (place / "results" / "report.html").exists() and list(place.glob("training_log_*.log"))
    shown.append(nuguna(place, "evaluate", "results", "--data", str(data), "--limit", "1", "--json"))

    def broken(*args: object, **given: object) -> None:
        raise RuntimeError(f"cannot reach https://me:{canaries[1]}@hub.example with {' '.join(canaries)}")

    monkeypatch.setattr(engine_module, "load_base", broken)
    crash = nuguna(place, "train", *words)
    assert crash.returncode == 1 and HIDDEN in crash.stderr + crash.stdout
    for done in (*shown, crash):
        assert not leaks(done.stdout + done.stderr, canaries + secrets), done.args
    logs = "".join(path.read_text(encoding="utf-8") for path in place.glob("training_log_*.log"))
    assert "Traceback" in logs and HIDDEN in logs
    for name, text in files_of(place):
        assert not leaks(text, canaries + secrets), name


def test_a_crash_without_a_log_and_a_log_alone_hold_no_secret(
    canaries: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*args: object, **given: object) -> None:
        raise RuntimeError(" ".join(canaries))

    monkeypatch.setattr("nuguna.jobs.chat.open_session", broken)
    crash = nuguna(tmp_path, "ask", "hello")
    assert crash.returncode == 1 and "Traceback" in crash.stdout
    log = LogFile(tmp_path)
    log.write("\n".join(canaries))
    log.close()
    assert not leaks(crash.stdout + crash.stderr + log.path.read_text(encoding="utf-8"), canaries)


@pytest.mark.parametrize("as_json", [True, False])
def test_an_error_of_the_hub_holds_no_password(
    canaries: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, as_json: bool
) -> None:
    monkeypatch.setattr(constants, "ENDPOINT", "http://me:hunter2hunter2@127.0.0.1:1")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    done = nuguna(tmp_path, "train", "--model", "maker/model", "--data", "demo", *(["--json"] if as_json else []))
    assert done.returncode == 2 and "maker/model" in done.stdout + done.stderr
    assert "hunter2" not in done.stdout + done.stderr
    assert not as_json or json.loads(done.stdout)["status"] == "refused"


# ---- our own code

NEVER_IMPORTED = {"pickle", "cPickle", "_pickle", "dill", "joblib", "cloudpickle", "shelve", "marshal"}
NEVER_CALLED = {
    "eval",
    "exec",
    "compile",
    "__import__",
    "torch.load",
    "yaml.load",
    "os.system",
    "os.popen",
    "np.load",
    "numpy.load",
}
NEVER_A_METHOD = {"extractall", "unpack_archive"}
NEVER_GIVEN = {("shell", True), ("verify", False), ("trust_remote_code", True), ("weights_only", False), ("allow_pickle", True)}
SOURCES = sorted(path for folder in ("src", "tools", "benchmarks", "examples") for path in (ROOT / folder).rglob("*.py"))


def dangers(code: str) -> list[str]:
    """Return what a file of Python has of these, by its syntax: a word in a comment is none."""
    found = []
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            found += [name.name for name in node.names if name.name.split(".")[0] in NEVER_IMPORTED]
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in NEVER_IMPORTED:
            found.append(str(node.module))
        elif isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            given = [(word.arg, word.value.value) for word in node.keywords if isinstance(word.value, ast.Constant)]
            found += [name] if name in NEVER_CALLED or name.rsplit(".", 1)[-1] in NEVER_A_METHOD else []
            found += [f"{word}={value!r}" for word, value in given if (word, value) in NEVER_GIVEN]
        elif isinstance(node, ast.Dict):
            keys = [key.value if isinstance(key, ast.Constant) else None for key in node.keys]
            values = [value.value if isinstance(value, ast.Constant) else None for value in node.values]
            found += [f"{key!r}: {value!r}" for key, value in zip(keys, values, strict=True) if (key, value) in NEVER_GIVEN]
        elif isinstance(node, ast.Constant) and node.value == "0.0.0.0":  # noqa: S104
            found.append("0.0.0.0")  # noqa: S104
    return found


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_our_code_has_no_door_for_code_of_others(path: Path) -> None:
    assert dangers(path.read_text(encoding="utf-8")) == []


def test_that_search_finds_what_it_should() -> None:
    bad = [
        *("import pickle", "from joblib import load", "torch.load(x)", "yaml.load(x)", "eval(x)", "exec(x)", "a.extractall()"),
        *(
            "run(x, shell=True)",
            "get(x, verify=False)",
            "f(trust_remote_code=True)",
            "x = {'trust_remote_code': True}",
            "bind('0.0.0.0')",
        ),
    ]
    assert [code for code in bad if not dangers(code)] == []
