"""Datasets of the hub: the server is the fake of test_hub.py, huggingface_hub and its cache are the real
ones.
"""

from __future__ import annotations

import json
import logging
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
from huggingface_hub import constants
from huggingface_hub.utils.tqdm import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

from nuguna.errors import DataError, EnvironmentFault, NugunaError
from nuguna.hub import client
from nuguna.hub.client import free_cache_bytes
from nuguna.hub.datasets import PARQUET_BRANCH, HubDataset, fetch_dataset, is_hub_name
from tests.hub.test_hub import TOKEN, Answer, FakeHub, git_hash, handler_for, point_to

NAME = "maker/talks"
COMMITS = {"main": "a" * 40, PARQUET_BRANCH: "b" * 40}
ROW = b'{"question": "q", "answer": "a"}\n'


@dataclass
class DatasetHub(FakeHub):
    """`repos` are the main branches of datasets; the hub's copies and what goes wrong stand here."""

    copies: dict[str, dict[str, bytes]] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)  # by file, where the hub claims another one
    refusals: dict[str, Answer] = field(default_factory=dict)  # by the beginning of the path asked

    def answer(self, parts: list[str]) -> Answer:
        path = "/" + "/".join(parts)
        refusal = next((answer for beginning, answer in self.refusals.items() if path.startswith(beginning)), None)
        if refusal is not None:
            return refusal
        if parts[:2] == ["api", "datasets"]:
            return self._repository("/".join(parts[2:4]), parts[5] if parts[4:5] == ["revision"] else "main")
        name, revision, file = ("/".join(parts[1:3]), parts[4], "/".join(parts[5:]))  # datasets/owner/name/resolve/revision/file
        if name in self.gated:
            return Answer(401, b"", {"X-Error-Code": "GatedRepo", "X-Error-Message": f"token {TOKEN} has no access"})
        branch = next(branch for branch, commit in COMMITS.items() if revision in (branch, commit))
        content = self._branch(name, branch).get(file)
        if content is None:
            return Answer(404, b"", {"X-Error-Code": "EntryNotFound"})
        return Answer(200, content, {"ETag": f'"{git_hash(content)}"', "X-Repo-Commit": COMMITS[branch]}, file)

    def _repository(self, name: str, branch: str) -> Answer:
        if name not in self.repos:
            return Answer(401, b'{"error": "Repository not found"}', {"X-Error-Code": "RepoNotFound"})
        if branch != "main" and name not in self.copies:
            return Answer(404, b"{}", {"X-Error-Code": "RevisionNotFound"})
        files = [
            {"rfilename": file, "size": self.sizes.get(file, len(data)), "blobId": git_hash(data)}
            for file, data in self._branch(name, branch).items()
        ]
        document = json.dumps({"id": name, "sha": COMMITS[branch], "siblings": files, "tags": []})
        return Answer(200, document.encode(), {"Content-Type": "application/json"})

    def _branch(self, name: str, branch: str) -> dict[str, bytes]:
        return self.repos[name] if branch == "main" else self.copies[name]

    def copy(self, *paths: str) -> None:
        """Give NAME a parquet branch with these files, each with content of its own."""
        self.repos.setdefault(NAME, {"README.md": b"a card"})
        self.copies[NAME] = {path: f"PAR1 {path}".encode() for path in paths}

    def own(self, *paths: str) -> None:
        """Give NAME these files of its own, and no parquet branch."""
        self.repos[NAME] = {path: ROW + path.encode("utf-8", "surrogatepass") for path in paths}


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[DatasetHub]:
    """Yield a running hub with nothing on it, and an empty cache."""
    fake = DatasetHub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler_for(fake))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    fake.url = f"http://127.0.0.1:{server.server_port}"
    point_to(monkeypatch, fake.url, tmp_path)
    monkeypatch.chdir(tmp_path)
    yield fake
    huggingface_hub.close_session()
    server.shutdown()
    server.server_close()
    thread.join()


def names(paths: tuple[Path, ...]) -> list[str]:
    """Paths within the repository of files that are really there."""
    assert all(path.is_file() for path in paths)
    return ["/".join(path.parts[path.parts.index("snapshots") + 2 :]) for path in paths]


def notes(dataset: HubDataset) -> str:
    return "\n".join(map(str, dataset.notes))


def expect(kind: type[NugunaError], wanted: str, source: str = NAME) -> str:
    with pytest.raises(kind, match=wanted) as caught:
        fetch_dataset(source)
    assert TOKEN not in str(caught.value) and "\n" not in str(caught.value) and str(caught.value.fix)
    return str(caught.value)


def go_offline(monkeypatch: pytest.MonkeyPatch, fake: DatasetHub) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    fake.asked.clear()


# Names


@pytest.mark.parametrize(
    "source", ["a/b", "maker/talks:train", "maker/talks:설정:train", "_m/t.v1.0", "a/b:x y", "0/1", "A-b/C_d.e"]
)
def test_names_of_the_hub(source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert is_hub_name(source)


PATHS = "./a/b ../a/b ~/a ~a/b C:\\a C:/a/b /a/b a a/b/c a\\b a/b/ a/ /b a//b 데이터/훈련 demo".split()
PARTS = "a/b: a/b:: a/b:c: a/b::c a/b:c:d:e a/b:c/d a/b:c\\d :a/b".split()
FILES = "a/b.jsonl a/b.JSONL a/b.csv a/b.gz a/b.json.zst a/b.parquet a/b.zip a/b.pkl a/b.xlsx a/b.txt:train".split()
NO_NAMES = ["", "a/b\n", "a/b:c\x00", "a--b/c", "a/b..c", "-a/b", "a/b-", "a/b.git", "a/" + "b" * 97]


@pytest.mark.parametrize("source", [*PATHS, *PARTS, *FILES, *NO_NAMES])
def test_paths_and_files_are_no_names_of_the_hub(source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert not is_hub_name(source)


def test_what_lies_on_this_machine_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "maker" / "talks").mkdir(parents=True)
    assert not is_hub_name("maker/talks")
    assert not is_hub_name("maker/talks:train")  # or a stranger's dataset of that name would come
    assert is_hub_name("maker/other")


@pytest.mark.parametrize("source", ["", "talks", "a/b/c", "a/b:c:d:e", "../a", "a--b/c", "a/" + "b" * 97, "a/b.git"])
def test_names_that_are_none_are_refused_without_asking(fake: DatasetHub, source: str) -> None:
    assert "DATASET=owner/name" in expect(DataError, "not a valid name for a dataset on the hub", source)
    assert fake.asked == []


def test_every_name_that_is_accepted_is_one_for_the_library(fake: DatasetHub) -> None:
    for source in ("_m/t.v1.0", "0/1", "A-b/C_d.e", "a/" + "b" * 96, "a" * 96 + "/b"):
        assert is_hub_name(source)
        expect(DataError, "There is no dataset", source)  # the library raises HFValidationError for a name that is none


# The hub's parquet copy


def test_takes_the_parquet_copy_in_order_and_keeps_a_split_to_measure(
    fake: DatasetHub, capfd: pytest.CaptureFixture[str]
) -> None:
    train = [f"default/train/000{n}.parquet" for n in range(3)]
    fake.copy(*reversed(train), "default/test/0000.parquet", "default/validation/0000.parquet", "default/more/0000.parquet")
    fake.own("data.jsonl")
    dataset = fetch_dataset(NAME)
    assert (dataset.name, dataset.config, dataset.split) == (NAME, "default", "train")
    assert names(dataset.train) == train
    assert names(dataset.heldout) == ["default/validation/0000.parquet"]
    assert dataset.train[2].read_bytes() == b"PAR1 default/train/0002.parquet"
    assert notes(dataset) == (
        "Training on split train of maker/talks; others: more, test\n"
        "Split validation of maker/talks is used to measure the result and is not trained on."
    )
    assert set(fake.downloads()) == {"0000.parquet", "0001.parquet", "0002.parquet"}
    assert capfd.readouterr() == ("", "")


def test_without_validation_the_test_split_measures(fake: DatasetHub) -> None:
    fake.copy("default/train/0000.parquet", "default/test/0000.parquet")
    assert names(fetch_dataset(NAME).heldout) == ["default/test/0000.parquet"]
    fake.copy("default/train/0000.parquet", "other/test/0000.parquet")  # another configuration's is none
    assert fetch_dataset(NAME).heldout == ()


def test_a_second_time_only_what_is_missing_comes(fake: DatasetHub) -> None:
    fake.copy("default/train/0000.parquet", "default/train/0001.parquet")
    first = fetch_dataset(NAME)
    fake.asked.clear()
    assert fetch_dataset(NAME) == first
    assert fake.downloads() == []


def test_the_default_configuration_then_the_first(fake: DatasetHub) -> None:
    fake.copy(*(f"{config}/train/0000.parquet" for config in ("zeta", "alpha", "default")))
    dataset = fetch_dataset(NAME)
    assert dataset.config == "default"
    assert notes(dataset) == "Using configuration default of maker/talks; others: alpha, zeta"
    fake.copy(*(f"{config}/train/0000.parquet" for config in ("zeta", "alpha")))
    assert fetch_dataset(NAME).config == "alpha"
    fake.copy("zeta/train/0000.parquet")
    dataset = fetch_dataset(NAME)
    assert (dataset.config, dataset.notes) == ("zeta", ())


def test_at_most_eight_others_are_named(fake: DatasetHub) -> None:
    fake.copy(*(f"c{n:02}/train/0000.parquet" for n in range(12)))
    text = notes(fetch_dataset(NAME))
    assert "others: c01, c02, c03, c04, c05, c06, c07, c08 and 3 more" in text


@pytest.mark.parametrize(
    ("part", "config", "split", "heldout"),
    [
        ("ko", "ko", "train", ["ko/test/0000.parquet"]),
        ("test", "en", "test", []),
        ("extra", "ko", "extra", []),  # only one configuration has it
        ("ko:test", "ko", "test", []),
        ("ko:train", "ko", "train", []),  # a split that was named leaves none to measure
        ("both", "both", "train", []),  # a configuration comes before a split
        ("en:both", "en", "both", []),
    ],
)
def test_parts_that_are_named(fake: DatasetHub, part: str, config: str, split: str, heldout: list[str]) -> None:
    fake.copy(
        *("en/train/0000.parquet", "en/test/0000.parquet", "en/both/0000.parquet"),
        *("ko/train/0000.parquet", "ko/test/0000.parquet", "ko/extra/0000.parquet", "both/train/0000.parquet"),
    )
    dataset = fetch_dataset(f"{NAME}:{part}")
    assert (dataset.config, dataset.split) == (config, split)
    assert names(dataset.train) == [f"{config}/{split}/0000.parquet"]
    assert names(dataset.heldout) == heldout
    assert ("Using configuration" in notes(dataset)) == (config not in part.split(":"))
    assert ("Training on split" in notes(dataset)) == (part == "ko")  # it has more than train and test


def test_parts_that_do_not_exist(fake: DatasetHub) -> None:
    fake.copy("en/train/0000.parquet", "ko/train/0000.parquet", "ko/test/0000.parquet")
    for part in ("tset", "en:test", "de:train"):
        text = expect(DataError, f"{NAME} has no part {part}", f"{NAME}:{part}")
        assert "en:train, ko:test, ko:train" in text and f"DATASET={NAME}:en:train" in text
    assert fake.downloads() == []


def test_the_only_split_is_taken_and_of_several_one_must_be_named(fake: DatasetHub) -> None:
    fake.copy("default/train_sft/0000.parquet")
    dataset = fetch_dataset(NAME)
    assert (dataset.split, dataset.heldout) == ("train_sft", ())
    fake.copy("default/test/0000.parquet")
    dataset = fetch_dataset(NAME)
    assert (dataset.split, names(dataset.train), dataset.heldout) == ("test", ["default/test/0000.parquet"], ())
    fake.copy("default/train_sft/0000.parquet", "default/test_sft/0000.parquet")
    text = expect(DataError, "has no train split")
    assert "test_sft, train_sft" in text and f"DATASET={NAME}:default:test_sft" in text
    assert fetch_dataset(f"{NAME}:train_sft").split == "train_sft"


def test_a_beginning_is_taken_with_a_note_unless_the_whole_is_there(fake: DatasetHub) -> None:
    fake.copy("default/partial-train/0000.parquet", "default/partial-train/0001.parquet", "default/test/0000.parquet")
    dataset = fetch_dataset(NAME)
    assert dataset.split == "train" and len(dataset.train) == 2
    assert "offers only its beginning" in notes(dataset)
    fake.copy("default/partial-train/0000.parquet", "default/train/0000.parquet")
    dataset = fetch_dataset(NAME)
    assert names(dataset.train) == ["default/train/0000.parquet"] and "beginning" not in notes(dataset)
    fake.copy("default/train-part0/0000.parquet", "default/train-part0/0001.parquet", "default/train-part1/0000.parquet")
    assert fetch_dataset(NAME).split == "train" and len(fetch_dataset(NAME).train) == 3


def test_a_copy_without_data_is_none(fake: DatasetHub) -> None:
    fake.own("data.jsonl")
    fake.copies[NAME] = {"default/train/index.duckdb": b"", ".gitattributes": b""}
    assert names(fetch_dataset(NAME).train) == ["data.jsonl"]


# The repository's own files


OWN = [
    (["data.jsonl"], {"train": ["data.jsonl"]}),
    (["b.csv", "a.csv", "c/d.csv"], {"train": ["a.csv", "b.csv", "c/d.csv"]}),
    (["train.jsonl", "test.jsonl"], {"train": ["train.jsonl"], "test": ["test.jsonl"]}),
    (["train.csv.gz", "dev.csv.zst"], {"train": ["train.csv.gz"], "validation": ["dev.csv.zst"]}),
    (["Train.TSV", "VAL.TSV"], {"train": ["Train.TSV"], "validation": ["VAL.TSV"]}),
    (["my_train1.json", "valid-2.json"], {"train": ["my_train1.json"], "validation": ["valid-2.json"]}),
    (["train/x.parquet", "eval/x.parquet"], {"train": ["train/x.parquet"], "validation": ["eval/x.parquet"]}),
    (["train/eval.txt", "train/b.txt"], {"train": ["train/b.txt"], "validation": ["train/eval.txt"]}),  # the file comes first
    (["train/old/test/x.txt", "train/x.txt"], {"train": ["train/x.txt"], "test": ["train/old/test/x.txt"]}),  # nearest folder
    (["data.xlsx", "testing.xlsx"], {"train": ["data.xlsx"], "test": ["testing.xlsx"]}),  # what says nothing is train
    (
        ["pretrain.jsonl", "contest.jsonl", "tested.jsonl"],
        {"train": ["contest.jsonl", "pretrain.jsonl", "tested.jsonl"]},
    ),  # no whole words
    (["a.jsonl", "b.ndjson"], {"train": ["a.jsonl", "b.ndjson"]}),
    (["훈련_train.jsonl"], {"train": ["훈련_train.jsonl"]}),
]


@pytest.mark.parametrize(("files", "splits"), OWN)
def test_splits_of_own_files(fake: DatasetHub, files: list[str], splits: dict[str, list[str]]) -> None:
    fake.own(*files, "README.md", "README_ko.txt", "LICENSE.txt", "licence-data.txt", "dataset_info.json", "dataset_infos.json")
    fake.repos[NAME] |= {".gitattributes": b"x", ".hidden.jsonl": b"x", ".git/train.jsonl": b"x", "talks.py": b"raise SystemExit"}
    fake.repos[NAME] |= {"train.zip": b"x", "train.pkl": b"x", "train.pt": b"x", "train.bin": b"x", "train.npy": b"x"}
    fake.repos[NAME] |= {"train.tar": b"x", "train.tar.gz": b"x", "picture.png": b"x", "requirements.txt": b"x"}
    dataset = fetch_dataset(NAME)
    assert (dataset.config, dataset.split) == ("", "train")
    assert names(dataset.train) == splits["train"]
    assert names(dataset.heldout) == splits.get("validation", splits.get("test", []))
    assert set(fake.downloads()) == {Path(file).name for files in splits.values() for file in files}
    assert "left out" not in notes(dataset)


def test_own_files_of_a_split_that_is_named(fake: DatasetHub) -> None:
    fake.own("train.jsonl", "validation.jsonl", "test.jsonl")
    dataset = fetch_dataset(f"{NAME}:test")
    assert (dataset.config, dataset.split, names(dataset.train), dataset.heldout) == ("", "test", ["test.jsonl"], ())
    assert dataset.notes == ()
    for part in ("dev", "default:test"):
        assert "test, train, validation" in expect(DataError, f"has no part {part}", f"{NAME}:{part}")
    fake.own("dev.jsonl", "test.jsonl")
    assert "test, validation" in expect(DataError, "has no train split")


def test_one_kind_of_file_is_taken_and_the_rest_is_named(fake: DatasetHub) -> None:
    fake.own("train.parquet", "train.csv", "stats.json", "test.csv", "notes.txt")
    dataset = fetch_dataset(NAME)
    assert (names(dataset.train), names(dataset.heldout)) == (["train.parquet"], ["test.csv"])
    assert "left out: notes.txt, stats.json, train.csv" in notes(dataset)
    assert set(fake.downloads()) == {"train.parquet", "test.csv"}
    fake.own("data.csv", "columns.json")
    assert names(fetch_dataset(NAME).train) == ["data.csv"]


def test_a_compressed_twin_is_left_out(fake: DatasetHub) -> None:
    fake.own("a.jsonl", "a.jsonl.gz", "b.jsonl.gz")
    dataset = fetch_dataset(NAME)
    assert names(dataset.train) == ["a.jsonl", "b.jsonl.gz"]
    assert "left out: a.jsonl.gz" in notes(dataset)


# What is refused


def test_code_pickles_and_archives_alone_are_refused(fake: DatasetHub) -> None:
    fake.own("README.md", "talks.py", "train.pkl", "weights.bin", "data.tar.gz", "x.npy", "data.zip", "x.pt", ".gitattributes")
    text = expect(DataError, "only files that are never opened here")
    assert "data.tar.gz, data.zip, talks.py, train.pkl" in text and "README" not in text
    assert fake.downloads() == []


def test_no_data_files(fake: DatasetHub) -> None:
    fake.own("README.md", "a\x1b[31m.png", ".gitattributes")
    text = expect(DataError, "no data files that can be read")
    assert "Available: README.md, a?[31m.png " in text and ".parquet .jsonl" in text
    fake.own()
    expect(DataError, "The repository is empty")


@pytest.mark.parametrize(
    "path",
    [
        "/etc/x.jsonl",
        "../x.jsonl",
        "a/../../x.jsonl",
        "a\\x.jsonl",
        "a\x00.jsonl",
        "a\n.jsonl",
        "C:/x.jsonl",
        "a/D:x.jsonl",
        "..\\x.csv",
    ],
)
def test_paths_that_leave_the_cache_are_refused(fake: DatasetHub, path: str) -> None:
    fake.own("good.jsonl", path)
    assert repr(path)[1:-1] in expect(DataError, "unsafe name")
    fake.own("good.jsonl")
    fake.copies[NAME] = {"default/train/0000.parquet": b"x", path: b"x"}
    expect(DataError, "unsafe name")
    assert fake.downloads() == []


def test_names_with_two_dots_are_safe(fake: DatasetHub) -> None:
    fake.own("a..b.jsonl", "c..d/..e.jsonl")
    assert len(fetch_dataset(NAME).train) == 2


def test_unknown_or_private_dataset(fake: DatasetHub) -> None:
    text = expect(DataError, "There is no dataset maker/nothing on the hub, or it is private", "maker/nothing")
    assert "hf auth login" in text and f"{fake.url}/datasets/maker/nothing" in text
    fake.refusals["/api/datasets/"] = Answer(404, b"{}", {"X-Error-Code": "RepoNotFound"})  # to those who are logged in
    expect(DataError, "There is no dataset")


def test_gated_dataset(fake: DatasetHub) -> None:
    fake.copy("default/train/0000.parquet")
    fake.gated.add(NAME)
    text = expect(DataError, "accept its terms")
    assert f"{fake.url}/datasets/{NAME}" in text and "hf auth login" in text


@pytest.mark.parametrize("where", ["/api/datasets/", "/datasets/"])
def test_a_token_without_rights(fake: DatasetHub, where: str) -> None:
    fake.copy("default/train/0000.parquet")
    fake.refusals[where] = Answer(403, b"", {"X-Error-Message": f"{TOKEN} may not"})
    assert "HTTP 403" in expect(DataError, "does not let you read")


def test_access_that_was_taken_away_is_not_got_around_by_the_cache(fake: DatasetHub) -> None:
    fake.copy("default/train/0000.parquet")
    fetch_dataset(NAME)
    del fake.repos[NAME]
    expect(DataError, "There is no dataset")


def test_disk_too_small(fake: DatasetHub, monkeypatch: pytest.MonkeyPatch) -> None:
    fake.copy("default/train/0000.parquet", "default/test/0000.parquet", "default/other/0000.parquet")
    fake.sizes = {f"default/{split}/0000.parquet": 100 * 2**20 for split in ("train", "test", "other")}
    monkeypatch.setattr(client, "free_cache_bytes", lambda: 150 * 2**20)
    text = expect(EnvironmentFault, "The disk is too full")
    assert "Needed: 220 MiB" in text and "Free: 150 MiB" in text and "HF_HOME" in text  # the two splits that are wanted
    assert fake.downloads() == []
    fetch_dataset(f"{NAME}:train")
    monkeypatch.setattr(client, "free_cache_bytes", lambda: 0)
    fetch_dataset(f"{NAME}:train")  # what is there needs no space again
    assert free_cache_bytes() > 0


def test_disk_full_while_writing(fake: DatasetHub, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: object, **kwargs: object) -> str:
        raise OSError(28, "No space left on device")

    fake.copy("default/train/0000.parquet")
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", full)
    assert "No space left on device" in expect(EnvironmentFault, "could not be written")


# Without a network


def test_offline_takes_what_the_cache_has(fake: DatasetHub, monkeypatch: pytest.MonkeyPatch) -> None:
    fake.copy("default/train/0000.parquet", "default/train/0001.parquet", "default/test/0000.parquet", "en/train/0000.parquet")
    online = fetch_dataset(NAME)
    go_offline(monkeypatch, fake)
    offline = fetch_dataset(NAME)
    assert (offline.config, offline.split) == ("default", "train")
    assert (offline.train, offline.heldout) == (online.train, online.heldout)
    assert "using the local cache: maker/talks:default:train" in notes(offline)
    text = expect(DataError, "en of maker/talks is not in the local cache", f"{NAME}:en")
    assert "default:test, default:train" in text
    assert fake.asked == []


def test_offline_takes_own_files_too(fake: DatasetHub, monkeypatch: pytest.MonkeyPatch) -> None:
    fake.own("data/train-00000-of-00002.csv", "data/train-00001-of-00002.csv", "data/test-00000-of-00001.csv", "README.md")
    online = fetch_dataset(NAME)
    go_offline(monkeypatch, fake)
    offline = fetch_dataset(NAME)
    assert (offline.train, offline.heldout) == (online.train, online.heldout) and len(offline.train) == 2
    online.train[0].unlink()
    assert "train-00001-of-00002.csv" in expect(DataError, "not complete in the local cache")


def test_offline_and_nothing_cached(fake: DatasetHub, monkeypatch: pytest.MonkeyPatch) -> None:
    go_offline(monkeypatch, fake)
    assert f"{NAME}: HF_HUB_OFFLINE" in expect(DataError, "cannot be reached")
    assert fake.asked == []


def test_no_network(fake: DatasetHub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    fake.copy("default/train/0000.parquet")
    online = fetch_dataset(NAME)
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # taken but not listening: connections are refused
        point_to(monkeypatch, f"http://127.0.0.1:{unused.getsockname()[1]}", tmp_path)
        assert fetch_dataset(NAME).train == online.train
        text = expect(DataError, "cannot be reached", "maker/other")
        assert "DATASET=demo" in text


DOWN = [
    (Answer(503, b""), "is refusing requests just now.*HTTP 503.*Wait a few minutes"),
    (Answer(429, b""), "is refusing requests just now.*HTTP 429.*Wait a few minutes"),
    (Answer(407, b""), "cannot be reached.*HTTP 407.*HTTPS_PROXY"),
    (Answer(200, b"<html>log in to this network</html>"), "cannot be reached.*something other than the hub.*in a browser"),
]


@pytest.mark.parametrize(("answer", "wanted"), DOWN, ids=["broken", "asked too often", "proxy", "gateway"])
def test_a_hub_that_is_down_is_as_none(fake: DatasetHub, answer: Answer, wanted: str) -> None:
    fake.copy("default/train/0000.parquet")
    online = fetch_dataset(NAME)
    fake.refusals["/api/datasets/"] = answer
    assert fetch_dataset(NAME).train == online.train
    expect(DataError, wanted, "maker/other")


def test_other_data_is_not_taken_because_the_copy_does_not_answer(fake: DatasetHub) -> None:
    fake.copy("default/train/0000.parquet")
    fake.own("data.jsonl")
    fake.refusals[f"/api/datasets/{NAME}/revision/"] = Answer(503, b"")
    expect(DataError, "is refusing requests just now")


def test_a_download_that_was_cut_off_is_not_taken_for_a_whole(fake: DatasetHub, monkeypatch: pytest.MonkeyPatch) -> None:
    train = [f"default/train/000{n}.parquet" for n in range(3)]
    fake.copy(*train, "default/extra/0000.parquet")
    real = huggingface_hub.hf_hub_download

    def cut(name: str, file: str, **kwargs: Any) -> str:
        if file == train[0]:
            raise ConnectionError("cable pulled")
        return str(real(name, file, **kwargs))

    def cut_off_and_offline(wanted: str) -> None:
        with monkeypatch.context() as patch:
            patch.setattr(huggingface_hub, "hf_hub_download", cut)
            assert "ConnectionError" in expect(DataError, "cannot be reached")
        with monkeypatch.context() as patch:
            patch.setattr(constants, "HF_HUB_OFFLINE", True)
            expect(DataError, wanted)

    cut_off_and_offline("is not, or not completely, in the local cache")  # no name leads to what came
    fetch_dataset(f"{NAME}:extra")  # from now on one does
    cut_off_and_offline("is not complete in the local cache")
    fake.asked.clear()
    assert len(fetch_dataset(NAME).train) == 3
    assert fake.downloads() == ["0000.parquet"]


def test_offline_a_test_split_alone_is_not_trained_on_unasked(fake: DatasetHub, monkeypatch: pytest.MonkeyPatch) -> None:
    fake.copy("default/train/0000.parquet", "default/test/0000.parquet")
    fetch_dataset(f"{NAME}:test")
    go_offline(monkeypatch, fake)
    assert f"DATASET={NAME}:default:test" in expect(DataError, "you have to choose one")
    assert fetch_dataset(f"{NAME}:test").split == "test"


def test_all_files_come_from_one_commit(fake: DatasetHub) -> None:
    fake.copy("default/train/0000.parquet", "default/train/0001.parquet")
    assert {path.parents[2].name for path in fetch_dataset(NAME).train} == {COMMITS[PARQUET_BRANCH]}


def test_library_is_silent_and_afterwards_as_talkative_as_before(fake: DatasetHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_PROGRESS_BARS", None)
    logger, real = logging.getLogger("huggingface_hub"), huggingface_hub.hf_hub_download
    level, disabled = logger.level, are_progress_bars_disabled()
    logger.setLevel(logging.INFO)
    enable_progress_bars()
    seen: list[tuple[int, bool]] = []

    def state() -> tuple[int, bool]:
        return logger.level, are_progress_bars_disabled()

    def download(*args: Any, **kwargs: Any) -> str:
        seen.append(state())
        return str(real(*args, **kwargs))

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    try:
        fake.copy("default/train/0000.parquet")
        fetch_dataset(NAME)
        assert set(seen) == {(logging.ERROR, True)} and state() == (logging.INFO, False)
        expect(DataError, "There is no dataset", "maker/nothing")
        assert state() == (logging.INFO, False)
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_PROGRESS_BARS", False)  # the user's word
        fetch_dataset(NAME)
        assert seen[-1] == (logging.ERROR, False)
    finally:
        logger.setLevel(level)
        if disabled:
            disable_progress_bars()
