"""The hub, played by a small HTTP server on this machine: only the network is fake, huggingface_hub is the
real one.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

import huggingface_hub
import pytest
from huggingface_hub import constants
from huggingface_hub.utils.tqdm import are_progress_bars_disabled

from nuguna.base_models.catalog import load_catalog
from nuguna.errors import EnvironmentFault, ModelError
from nuguna.hub import client
from nuguna.hub import models as hub
from nuguna.hub.client import is_reachable
from nuguna.hub.models import cached_folder, candidates, fetch, lookup
from nuguna.machine.stopping import TerminateRequest, raised_requests
from tests.base_models.test_catalog import LLAMA, write_safetensors

COMMIT = "0123456789abcdef0123456789abcdef01234567"
NAME = "maker/tiny-chat"
TOKEN = "hf_averysecrettokenindeed"


@dataclass
class FakeHub:
    """Repositories as data, and what was asked of them."""

    repos: dict[str, dict[str, bytes]] = field(default_factory=dict)
    gated: set[str] = field(default_factory=set)
    broken_after: dict[str, int] = field(default_factory=dict)  # file: bytes after which the connection is cut, once
    asked: list[tuple[str, str]] = field(default_factory=list)
    slow: set[str] = field(default_factory=set)  # files that come a hundredth at a time, five a second
    url: str = ""

    def downloads(self) -> list[str]:
        return [path.rsplit("/", 1)[1] for method, path in self.asked if method == "GET" and "/resolve/" in path]

    def answer(self, parts: list[str]) -> Answer:
        """Return what the hub says to GET of this path."""
        if parts == [""]:
            return Answer(200, b"welcome")
        if parts[:2] == ["api", "models"]:
            name, wants_tree = "/".join(parts[2:4]), parts[4:5] == ["tree"]
            if name not in self.repos:
                return Answer(401, b'{"error": "Repository not found"}', {"X-Error-Code": "RepoNotFound"})
            document = json.dumps(self._tree(name) if wants_tree else self._info(name))
            return Answer(200, document.encode(), {"Content-Type": "application/json"})
        name, file = "/".join(parts[:2]), "/".join(parts[4:])  # owner/name/resolve/revision/file
        if name in self.gated:
            return Answer(401, b"", {"X-Error-Code": "GatedRepo", "X-Error-Message": f"token {TOKEN} has no access"})
        if file not in self.repos.get(name, {}):
            return Answer(404, b"", {"X-Error-Code": "EntryNotFound"})
        content = self.repos[name][file]
        return Answer(200, content, {"ETag": f'"{git_hash(content)}"', "X-Repo-Commit": COMMIT}, file)

    def _info(self, name: str) -> dict[str, object]:
        files = [{"rfilename": file, "size": len(data), "blobId": git_hash(data)} for file, data in self.repos[name].items()]
        card = {"license": "apache-2.0", "language": ["ko", "en"]}
        gated = "auto" if name in self.gated else False
        return {"id": name, "modelId": name, "sha": COMMIT, "gated": gated, "cardData": card, "siblings": files, "tags": []}

    def _tree(self, name: str) -> list[dict[str, object]]:
        files = self.repos[name].items()
        return [{"type": "file", "path": file, "oid": git_hash(data), "size": len(data)} for file, data in files]


@dataclass
class Answer:
    status: int
    content: bytes
    headers: dict[str, str] = field(default_factory=dict)
    file: str = ""


def git_hash(content: bytes) -> str:
    return hashlib.sha1(f"blob {len(content)}\0".encode() + content, usedforsecurity=False).hexdigest()


def handler_for(fake: FakeHub) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *args: object) -> None:
            pass

        def do_HEAD(self) -> None:  # noqa: N802
            self.do_GET()

        def do_GET(self) -> None:  # noqa: N802
            parts = [unquote(part) for part in urlsplit(self.path).path.strip("/").split("/")]
            fake.asked.append((self.command, "/" + "/".join(parts)))
            answer = fake.answer(parts)
            begin = int(self.headers["Range"].removeprefix("bytes=").split("-")[0]) if "Range" in self.headers else 0
            if begin:
                size = len(answer.content)
                answer.status, answer.headers["Content-Range"] = 206, f"bytes {begin}-{size - 1}/{size}"
            self.send_response(answer.status)
            for key, value in {**answer.headers, "Content-Length": str(len(answer.content) - begin)}.items():
                self.send_header(key, value)
            self.end_headers()
            if self.command == "GET":
                end = fake.broken_after.pop(answer.file, None)
                self.close_connection = end is not None
                content = answer.content[begin:end]
                piece = len(content) // 100 + 1 if answer.file in fake.slow else max(1, len(content))
                with suppress(ConnectionError):
                    for start in range(0, len(content), piece):
                        self.wfile.write(content[start : start + piece])
                        time.sleep(0.2 if answer.file in fake.slow else 0)

    return Handler


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[FakeHub]:
    """Yield a running hub with one good model, and an empty cache."""
    fake = FakeHub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler_for(fake))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    fake.url = f"http://127.0.0.1:{server.server_port}"
    fake.repos[NAME] = good_files(tmp_path)
    point_to(monkeypatch, fake.url, tmp_path)
    yield fake
    huggingface_hub.close_session()
    server.shutdown()
    server.server_close()
    thread.join()


def point_to(monkeypatch: pytest.MonkeyPatch, url: str, tmp_path: Path) -> None:
    huggingface_hub.close_session()
    for variable in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "HF_TOKEN"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(constants, "ENDPOINT", url)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", url + "/{repo_id}/resolve/{revision}/{filename}")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "no token"))
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_TELEMETRY", True)


def good_files(tmp_path: Path) -> dict[str, bytes]:
    weights = tmp_path / "weights"
    write_safetensors(weights, {"embed.weight": ("F32", [32, 8]), "lm_head.weight": ("F32", [32, 8]), "w": ("F32", [50_000])})
    return {
        "README.md": b"a model",
        "config.json": json.dumps(LLAMA).encode(),
        "model.safetensors": weights.read_bytes(),
        "pytorch_model.bin": b"a pickle",
        "modeling_tiny.py": b"raise SystemExit",
        "model.gguf": b"gguf",
        "onnx/model.safetensors": b"for something else",
        "adapter_config.json": b"{}",
        "tokenizer.json": b'{"version": "1.0"}',
        "tokenizer_config.json": b'{"chat_template": "{{ messages }}"}',
    }


def ignore(done_bytes: int, total_bytes: int) -> None:
    pass


def expect_error(wanted: str, name: str = NAME) -> ModelError:
    with pytest.raises(ModelError, match=wanted) as caught:
        model = lookup(name)
        fetch(model, on_progress=ignore)
    assert caught.value.exit_code == 2
    assert TOKEN not in str(caught.value) and "\n" not in str(caught.value)
    return caught.value


# What works


def test_looks_a_model_up_without_downloading_its_weights(fake: FakeHub) -> None:
    model = lookup(NAME)
    assert (model.id, model.folder, model.gated, model.licence) == (NAME, None, False, "apache-2.0")
    assert model.languages == ("ko", "en") and model.has_chat_template and model.context_tokens == 64
    assert model.download_bytes == sum(len(fake.repos[NAME][name]) for name in NEEDED)
    assert model.num_parameters == pytest.approx(2 * 50_512, rel=0.01)  # from the file's size, taken for 16-bit
    assert sorted(fake.downloads()) == ["config.json", "tokenizer_config.json"]
    assert cached_folder(NAME) is None  # the configuration alone is no model


NEEDED = {"config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"}


def test_downloads_only_data_and_then_uses_the_cache(fake: FakeHub, capfd: pytest.CaptureFixture[str]) -> None:
    calls: list[tuple[int, int]] = []
    folder = fetch(lookup(NAME), on_progress=lambda done, total: calls.append((done, total))).folder
    assert {path.name for path in folder.iterdir()} == NEEDED
    assert set(fake.downloads()) == NEEDED
    total = sum(len(fake.repos[NAME][name]) for name in NEEDED)
    assert calls[-1] == (total, total) and all(done <= whole == total for done, whole in calls)
    assert capfd.readouterr() == ("", "")

    fake.asked.clear()
    assert cached_folder(NAME) == folder
    again = lookup(NAME)
    assert (again.id, again.folder, again.download_bytes, again.num_parameters) == (NAME, folder, 0, 50_512)
    assert fetch(again, on_progress=ignore) is again.checked
    assert fetch(replace(again, checked=None), on_progress=ignore).folder == folder
    assert fake.asked == []


def test_progress_counts_the_bytes_on_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "POLL_SECONDS", 0.01)
    (tmp_path / "dead.1234.incomplete").write_bytes(bytes(500))  # left behind by a run that was killed
    files = [client.File("a", 100, "aaaa"), client.File("b", 50, "bbbb"), client.File("c", 500, "dead")]
    calls: list[int] = []
    with client._polling(tmp_path, files, lambda done, total: calls.append(done)):
        (tmp_path / "aaaa").write_bytes(bytes(100))
        (tmp_path / "bbbb.5678.incomplete").write_bytes(bytes(20))
        (tmp_path / "other").write_bytes(bytes(999))
        deadline = time.monotonic() + 5
        while 120 not in calls and time.monotonic() < deadline:
            time.sleep(0.01)
    assert max(calls) == 120


def test_goes_on_after_a_cut_connection(fake: FakeHub) -> None:
    fake.broken_after["model.safetensors"] = 1000
    folder = fetch(lookup(NAME), on_progress=ignore).folder
    assert (folder / "model.safetensors").read_bytes() == fake.repos[NAME]["model.safetensors"]
    assert fake.downloads().count("model.safetensors") == 2


def test_a_request_to_end_does_not_wait_for_the_download(fake: FakeHub) -> None:
    """Twenty seconds of it; what has come is no file, so that the next start has nothing half done."""
    fake.slow.add("model.safetensors")
    found = lookup(NAME)
    threading.Timer(1.5, lambda: os.kill(os.getpid(), signal.SIGTERM)).start()
    began = time.monotonic()
    with pytest.raises(TerminateRequest), raised_requests():
        fetch(found, on_progress=ignore)
    assert time.monotonic() - began < 5
    fake.slow.clear()
    folder = fetch(found, on_progress=ignore).folder
    assert (folder / "model.safetensors").read_bytes() == fake.repos[NAME]["model.safetensors"]


def test_a_second_try_downloads_only_what_is_missing(fake: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_weights(*args: object, **kwargs: object) -> Path:
        raise OSError("cable pulled")

    with monkeypatch.context() as patch:
        patch.setattr(hub, "download", no_weights)
        expect_error("cannot be reached")
    missing = len(fake.repos[NAME]["model.safetensors"]) + len(fake.repos[NAME]["tokenizer.json"])
    fake.asked.clear()
    monkeypatch.setattr(client, "free_cache_bytes", lambda: int(missing * 1.1) + 1)  # what is there needs no space again
    fetch(lookup(NAME), on_progress=ignore)
    assert sorted(fake.downloads()) == ["model.safetensors", "tokenizer.json"]


def test_known_models_keep_what_the_catalogue_says(fake: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    known = replace(load_catalog()[0], id=NAME, quality=7)
    monkeypatch.setattr(hub, "load_catalog", lambda: (known,))
    assert lookup(NAME.upper()) == known
    assert fake.asked == []
    folder = fetch(known, on_progress=ignore).folder
    found = lookup(NAME)
    assert (found.folder, found.quality, found.licence, found.num_parameters) == (folder, 7, known.licence, 50_512)


def test_another_revision_has_its_own_place(fake: FakeHub) -> None:
    known = replace(lookup(NAME), revision="refs/pr/22")
    folder = fetch(known, on_progress=ignore).folder
    assert cached_folder(NAME, "refs/pr/22") == folder
    assert ("GET", f"/api/models/{NAME}/revision/refs/pr/22") in fake.asked


# What is refused


def test_unknown_model(fake: FakeHub) -> None:
    error = expect_error("There is no model maker/nothing", "maker/nothing")
    assert "spelling" in str(error.fix)


def test_gated_model(fake: FakeHub) -> None:
    fake.gated.add(NAME)
    error = expect_error("accept its terms")
    assert "hf auth login" in str(error.fix) and f"{fake.url}/{NAME}" in str(error.fix)


@pytest.mark.parametrize("name", ["a b", "a//b", "a/b/c", "../a", "", "-a/b", "x" * 97])
def test_names_that_are_none(fake: FakeHub, name: str) -> None:
    with pytest.raises(ModelError, match="a valid model name"):
        lookup(name)
    assert fake.asked == []


def test_pickles_alone_are_not_downloaded(fake: FakeHub) -> None:
    del fake.repos[NAME]["model.safetensors"]
    expect_error("no safetensors weights")
    assert fake.downloads() == []


def test_code_is_refused_before_the_weights_come(fake: FakeHub) -> None:
    known = replace(load_catalog()[0], id=NAME)
    fake.repos[NAME]["config.json"] = json.dumps({**LLAMA, "auto_map": {"AutoModel": "modeling_tiny.Tiny"}}).encode()
    with pytest.raises(ModelError, match="program code"):
        fetch(known, on_progress=ignore)
    with pytest.raises(ModelError, match="program code"):
        lookup(NAME)
    assert set(fake.downloads()) == {"config.json"}


@pytest.mark.parametrize(
    "file", ["model-/../x-of-00001.safetensors", "model-00001-of-/../x.safetensors", "model-\\..\\x-of-00001.safetensors"]
)
def test_names_that_lead_out_of_the_cache(fake: FakeHub, file: str) -> None:
    fake.repos[NAME][file] = fake.repos[NAME]["model.safetensors"]
    expect_error("outside its own folder")
    assert fake.downloads() == []


def test_configuration_that_is_missing_or_no_json(fake: FakeHub) -> None:
    fake.repos[NAME]["config.json"] = b"<html>"
    expect_error("not readable JSON")
    del fake.repos[NAME]["config.json"]
    fake.repos["maker/other"] = fake.repos[NAME]
    expect_error("no config.json", "maker/other")


def test_disk_too_small(fake: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    model = lookup(NAME)
    fake.asked.clear()
    monkeypatch.setattr(client, "free_cache_bytes", lambda: 100 * 1024)
    with pytest.raises(EnvironmentFault, match="Needed: .* KiB .* Free: 100 KiB") as caught:
        fetch(model, on_progress=ignore)
    assert "HF_HOME" in str(caught.value.fix)
    assert fake.downloads() == []


def test_disk_full_while_writing(fake: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: object, **kwargs: object) -> Path:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(hub, "download", full)
    with pytest.raises(EnvironmentFault, match="No space left on device"):
        fetch(lookup(NAME), on_progress=ignore)


def test_no_network_and_not_cached(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # taken but not listening: connections are refused
        point_to(monkeypatch, f"http://127.0.0.1:{unused.getsockname()[1]}", tmp_path)
        error = expect_error("cannot be reached")
        assert "MODEL=demo" in str(error.fix)
        assert not is_reachable(1.0)


def test_offline_by_wish(fake: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = fetch(lookup(NAME), on_progress=ignore).folder
    assert is_reachable(2.0)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    fake.asked.clear()
    assert not is_reachable()
    assert lookup(NAME).folder == folder
    expect_error("cannot be reached", "maker/other")
    assert fake.asked == []


def test_reachable_waits_no_longer_than_asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        point_to(monkeypatch, f"http://127.0.0.1:{silent.getsockname()[1]}", tmp_path)
        began = time.monotonic()
        assert not is_reachable(0.2)
        assert time.monotonic() - began < 2


def test_a_hub_that_does_not_answer_in_time(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(client, "API_TIMEOUT_SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        point_to(monkeypatch, f"http://127.0.0.1:{silent.getsockname()[1]}", tmp_path)
        assert "no answer in time" in str(expect_error("cannot be reached"))
        huggingface_hub.close_session()


def test_library_is_as_talkative_afterwards_as_before(fake: FakeHub) -> None:
    level = logging.getLogger("huggingface_hub").level
    bars = are_progress_bars_disabled()
    expect_error("There is no model", "maker/nothing")
    assert logging.getLogger("huggingface_hub").level == level
    assert are_progress_bars_disabled() == bars


# What MODEL=... can mean


def test_candidates(fake: FakeHub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    demo = replace(load_catalog()[0], id="demo")
    monkeypatch.setattr(hub, "demo_model", lambda: demo)
    assert candidates("demo") == (demo,)
    assert [model.id for model in candidates(NAME)] == [NAME]
    with pytest.raises(ModelError, match="no model folder"):
        candidates("./nowhere")
    folder = fetch(lookup(NAME), on_progress=ignore).folder
    assert candidates(str(folder))[0].folder == folder

    everything = candidates("auto")
    assert everything[-1] == demo and len(everything) > 5 and all(model.quality for model in everything)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert candidates("auto") == (demo,)
