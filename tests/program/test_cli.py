"""The commands as a user types them: exit codes, languages, nothing written on a mistake, JSON alone on
standard output.
"""

from __future__ import annotations

import io
import json
import os
import resource
import signal
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from nuguna.cli import main
from nuguna.message import say
from nuguna.text.language import translator

MACHINES = Path(__file__).parents[1] / "machines"
NUGUNA = [sys.executable, "-m", "nuguna"]


def nuguna(folder: Path, *words: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """Return the program in this process: starting one of its own and loading torch would take most of the
    time of these tests.
    """
    out, err = io.StringIO(), io.StringIO()
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    here = Path.cwd()
    with (
        patch.dict(os.environ, {"NUGUNA_LANG": "en", **environ}),
        patch.object(sys, "argv", ["nuguna", *words]),
        redirect_stdout(out),
        redirect_stderr(err),
    ):
        os.chdir(folder)
        try:
            main()
            code: Any = 0
        except SystemExit as end:
            code = end.code
        finally:
            os.chdir(here)
            for number, handler in handlers.items():
                signal.signal(number, handler)
    return subprocess.CompletedProcess(words, code or 0, out.getvalue(), err.getvalue())


def as_typed(folder: Path, *words: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """Return the program in a process of its own."""
    settings = {**os.environ, "NUGUNA_LANG": "en", "PYTHONIOENCODING": "utf-8", **environ}
    return subprocess.run(
        [*NUGUNA, *words], cwd=folder, env=settings, capture_output=True, text=True, encoding="utf-8", check=False
    )


def short_run(folder: Path) -> list[str]:
    """Two steps, and few questions to measure on."""
    (folder / "short.toml").write_text('heldout_examples = 4\nmodel = "demo"\n')
    return ["--plan", "short.toml", "--max-steps", "2", "--batch-size", "2"]


def test_help_is_instant_and_loads_nothing_heavy(tmp_path: Path) -> None:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    shown = as_typed(tmp_path, "--help")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert shown.returncode == 0 and all(name in shown.stdout for name in ("check", "plan", "train", "ask", "chat"))
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 1.0  # processor time; 0.12 s on an idle machine
    code = "import sys, nuguna.cli; sys.exit(bool({'torch', 'transformers', 'rich.console'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    ("chosen", "used"), [({}, "10000"), ({"OMP_WAIT_POLICY": "ACTIVE"}, "None"), ({"GOMP_SPINCOUNT": "7"}, "7")]
)
def test_idle_threads_leave_their_core_to_others_unless_the_user_says_otherwise(chosen: dict[str, str], used: str) -> None:
    without = {name: value for name, value in os.environ.items() if name not in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")}
    # the API, when first used
    code = "import nuguna, os, sys; nuguna.detect; print(os.environ.get('GOMP_SPINCOUNT'))"
    shown = subprocess.run([sys.executable, "-c", code], env={**without, **chosen}, capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == used


def test_telling_a_mistake_needs_no_torch() -> None:
    code = "import sys, nuguna.ui.screen, nuguna.plan.plan_file; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    ("words", "environ", "said"),
    [
        (["train"], {"BATCH_SIZE": "0"}, "BATCH_SIZE cannot be '0'"),
        (["train", "--lora-r", "abc"], {}, "--lora-r cannot be 'abc'"),
        (["train"], {"DATASET": "missing.csv"}, "no dataset file"),
        (["plan"], {"MODEL": "./nowhere"}, "nowhere"),
        (["train", "--plan", "none.toml"], {}, "none.toml"),
        (["plan", "--hardware", "none.json"], {}, "none.json"),
        (["ask", "nowhere", "hello"], {}, "nowhere"),
        (["train", "--seed", "x", "--json"], {}, "--seed cannot be 'x'"),
        (["train", "--foo"], {}, "--foo"),
        (["trian"], {}, "trian"),
    ],
)
def test_a_mistake_is_one_sentence_with_the_mend_exit_2_and_nothing_written(
    words: list[str], environ: dict[str, str], said: str, tmp_path: Path
) -> None:
    shown = nuguna(tmp_path, *words, **environ)
    assert shown.returncode == 2, shown.stdout + shown.stderr
    text = shown.stderr if "--json" in words else shown.stdout + shown.stderr
    assert said in text and "→" in text and "Traceback" not in text
    assert list(tmp_path.iterdir()) == []


def test_a_mistake_is_told_in_korean(tmp_path: Path) -> None:
    shown = nuguna(tmp_path, "train", BATCH_SIZE="0", NUGUNA_LANG="ko")
    expected = translator("ko")(say("{name} cannot be {value}.", name="BATCH_SIZE", value="'0'"))
    assert expected in shown.stdout
    assert not any(word in shown.stdout for word in ("cannot", "must", "example"))


def test_plan_prints_json_alone_and_writes_the_file(tmp_path: Path) -> None:
    machine = json.loads(nuguna(tmp_path, "check", "--json").stdout)
    assert {"device", "name", "num_devices", "memory_bytes", "system_memory_bytes", "num_cores"} <= set(machine)
    assert {"free_disk_bytes", "dtype", "dtype_reason", "problems"} <= set(machine)
    machine.update(device="cuda", name="NVIDIA H100", memory_bytes=80 * 10**9, dtype="bfloat16")
    (tmp_path / "h100.json").write_text(json.dumps(machine))
    shown = nuguna(tmp_path, "plan", "--hardware", "h100.json", "--model", "demo", "--json")
    made = json.loads(shown.stdout)
    assert set(made) == {"fits", "choices", "memory", "predicted_seconds", "seconds", "larger", "remedies"}
    assert made["predicted_seconds"] == pytest.approx(sum(made["seconds"].values()), abs=1)
    assert made["choices"]["device"] == {"value": "cuda", "reason": "found on this machine", "source": "hardware"}
    assert set(made["memory"]) == {"usable_bytes", "predicted_peak_bytes", "parts"}
    assert (tmp_path / "plan.toml").is_file()


def test_a_wish_that_does_not_fit_is_refused_with_the_change_that_is_enough_before_anything_is_written(tmp_path: Path) -> None:
    machine = json.loads((MACHINES / "raspberry-pi-5-4gb.json").read_text())
    (tmp_path / "pi.json").write_text(json.dumps(machine))
    words = ("plan", "--hardware", "pi.json", "--model", "demo", "--lora-r", "32768")
    shown = nuguna(tmp_path, *words)
    assert shown.returncode == 2 and "does not fit" in shown.stdout and "too much" in shown.stdout
    assert "One change is enough: --lora-r" in shown.stdout and "needs" in shown.stdout and "Traceback" not in shown.stderr
    as_json = nuguna(tmp_path, *words, "--json")
    made = json.loads(as_json.stdout)
    assert as_json.returncode == 2 and not made["fits"] and "One change is enough" in as_json.stderr
    assert made["remedies"] and all(r["needed_bytes"] <= machine["memory_bytes"] for r in made["remedies"])
    assert [path.name for path in tmp_path.iterdir()] == ["pi.json"]
    trained = nuguna(tmp_path, "train", "--model", "demo", "--lora-r", "1000000")
    assert trained.returncode == 2 and "One change is enough: --lora-r" in trained.stdout
    assert [path.name for path in tmp_path.iterdir()] == ["pi.json"]


def test_a_plan_for_another_machine_shows_its_memory_as_a_picture(tmp_path: Path) -> None:
    shown = nuguna(tmp_path, "plan", "--hardware", str(MACHINES / "server-h200.json"), "--model", "demo")
    assert shown.returncode == 0 and "█" in shown.stdout and "left" in shown.stdout and "138.5 GiB" in shown.stdout
    assert "Larger, and would fit too: " in shown.stdout and "Time: " in shown.stdout


def test_a_plan_that_somebody_edited_is_kept(tmp_path: Path) -> None:
    (tmp_path / "plan.toml").write_text("max_steps = 7  # mine\n")
    first = nuguna(tmp_path, "plan", "--plan", "plan.toml", "--model", "demo")
    assert first.returncode == 0 and "plan.toml.1" in first.stdout
    assert (tmp_path / "plan.toml.1").read_text() == "max_steps = 7  # mine\n"
    assert "max_steps = 7" in (tmp_path / "plan.toml").read_text()


def test_the_main_job_in_korean_shows_no_english_sentence(tmp_path: Path) -> None:
    shown = nuguna(tmp_path, "train", *short_run(tmp_path), NUGUNA_LANG="ko")
    allowed = ("nuguna", "ROUGE-L", "BLEU", "chrF", "perplexity")
    english = []
    for line in shown.stdout.splitlines():
        run = 0
        for word in line.split():
            run = run + 1 if word.isascii() and word.isalpha() and word not in allowed else 0
            if run == 3:
                english.append(line)
    assert shown.stdout and not english
    log = next(tmp_path.glob("training_log_*.log")).read_text("utf-8")
    assert "학습 1/2스텝 - 손실:" in log


def test_json_of_the_main_job_stands_alone_and_the_log_has_its_lines(tmp_path: Path) -> None:
    shown = as_typed(tmp_path, "train", *short_run(tmp_path), "--json")
    report = json.loads(shown.stdout)
    assert report["status"] in ("succeeded", "failed")
    assert shown.returncode == (0 if report["status"] == "succeeded" else 1)
    assert "Training step 1/2 - Loss: " in next(tmp_path.glob("training_log_*.log")).read_text("utf-8")
    asked = as_typed(tmp_path, "ask", "results", "What is asthma?", "--json")
    assert asked.stderr == ""  # other libraries keep quiet
    answer = json.loads(asked.stdout)
    assert set(answer) == {"question", "answer", "stopped", "num_tokens", "tokens_per_second"}


def pairs_file(folder: Path, num_good: int, *others: str, name: str = "pairs.jsonl") -> Path:
    rows = [
        json.dumps({"question": f"{i}번 약의 색은?", "answer": f"{i}번 약은 빨강입니다."}, ensure_ascii=False)
        for i in range(num_good)
    ]
    path = folder / name
    path.write_text("\n".join([*rows, *others]) + "\n", encoding="utf-8")
    return path


def test_data_is_looked_at_without_training(tmp_path: Path) -> None:
    pairs_file(tmp_path, 30)
    shown = nuguna(tmp_path, "data", "pairs.jsonl", NUGUNA_LANG="ko")
    assert (
        shown.returncode == 0
        and "⟦29번 약은 빨강입니다.<|im_end|>⟧" in shown.stdout
        and "DATASET=pairs.jsonl ./run.sh" in shown.stdout
    )
    document = json.loads(nuguna(tmp_path, "data", "pairs.jsonl", "--json").stdout)
    assert document["verdict"] == "ready" and document["num_rows"] == 30 and document["bad_rows"] == []
    assert {path.name for path in tmp_path.iterdir()} == {"pairs.jsonl"}


def test_refused_data_is_named_row_by_row_mended_and_then_ready(tmp_path: Path) -> None:
    pairs_file(tmp_path, 30, '{"question": "a"}', "{broken")
    shown = as_typed(tmp_path, "data", "pairs.jsonl")
    assert shown.returncode == 2 and "Not ready" in shown.stdout and "Traceback" not in shown.stderr
    assert "pairs.jsonl, line 31: answer is missing" in shown.stdout and "line 32: not valid JSON" in shown.stdout
    refused = json.loads(nuguna(tmp_path, "data", "pairs.jsonl", "--json").stdout)
    assert refused["verdict"] == "refused" and [row["line"] for row in refused["bad_rows"]] == [31, 32]
    fixed = nuguna(tmp_path, "data", "pairs.jsonl", "--fix", "clean.jsonl")
    assert fixed.returncode == 0 and "DATASET=clean.jsonl ./run.sh" in fixed.stdout
    assert json.loads(nuguna(tmp_path, "data", "clean.jsonl", "--json").stdout)["num_usable"] == 30
    again = nuguna(tmp_path, "data", "pairs.jsonl", "--fix", "clean.jsonl")
    assert again.returncode == 2 and "already exists" in again.stdout
    missing = nuguna(tmp_path, "data", "pears.jsonl", "--json")
    assert missing.returncode == 2 and json.loads(missing.stdout)["verdict"] == "refused" and "pairs.jsonl" in missing.stderr


def test_a_training_stops_before_it_begins_when_too_many_rows_are_broken(tmp_path: Path) -> None:
    pairs_file(tmp_path, 30, '{"question": "a"}')
    shown = nuguna(tmp_path, "train", DATASET="pairs.jsonl", MODEL="demo")
    assert shown.returncode == 2 and "1 of 31 rows" in shown.stdout and "line 31: answer is missing" in shown.stdout
    assert "results/bad_rows.jsonl" in shown.stdout and not list(tmp_path.glob("*.log"))
    (row,) = (json.loads(line) for line in (tmp_path / "results" / "bad_rows.jsonl").read_text("utf-8").splitlines())
    assert (row["file"], row["line"], row["column"]) == ("pairs.jsonl", 31, "answer")
    assert [path.name for path in (tmp_path / "results").iterdir()] == ["bad_rows.jsonl"]
    document = json.loads(nuguna(tmp_path, "train", "--json", DATASET="pairs.jsonl", MODEL="demo").stdout)
    assert document["status"] == "refused" and document["error"]["what"].startswith("1 of 31 rows")


def test_one_broken_row_in_a_hundred_is_left_out_and_every_row_accounted_for(tmp_path: Path) -> None:
    pairs_file(tmp_path, 99, '{"question": "a"}')
    settings = {"DATASET": "pairs.jsonl", "MODEL": "demo", "MAX_STEPS": "2", "BATCH_SIZE": "2"}
    (tmp_path / "few.toml").write_text("heldout_examples = 4\n")
    shown = nuguna(tmp_path, "train", "--plan", "few.toml", **settings)
    assert shown.returncode in (0, 1), shown.stdout + shown.stderr
    said = " ".join(shown.stdout.split())
    assert "100 rows: 4 examples to train on, 4 only for measuring." in said
    assert "1 rows are broken and left out" in said and "91 rows are not needed" in said
    assert len((tmp_path / "results" / "bad_rows.jsonl").read_text("utf-8").splitlines()) == 1


@pytest.mark.skipif(os.name != "posix", reason="a terminal is imitated with the system's own")
def test_unclear_columns_are_asked_for_in_a_terminal_and_named_anywhere_else(tmp_path: Path) -> None:
    import pty

    (tmp_path / "posts.csv").write_text("title,body,age\n" + "".join(f"Pill {i},It is red.,{i}\n" for i in range(30)))
    plain = nuguna(tmp_path, "data", "posts.csv")
    assert plain.returncode == 2 and "age, body, title" in plain.stdout and "DATA_COLUMNS=title,body" in plain.stdout
    named = nuguna(tmp_path, "data", "posts.csv", "--json", DATA_COLUMNS="title,body")
    assert json.loads(named.stdout)["shape"] == "title+body"
    here, there = pty.openpty()
    settings = {**os.environ, "NUGUNA_LANG": "en", "COLUMNS": "120"}
    with subprocess.Popen(
        [*NUGUNA, "data", "posts.csv"], cwd=tmp_path, env=settings, stdin=there, stdout=there, stderr=there
    ) as run:
        os.close(there)
        os.write(here, b"9\n1\n2\n")
        shown = b""
        while True:
            try:
                part = os.read(here, 4096)
            except OSError:  # the other side has ended
                break
            if not part:
                break
            shown += part
        assert run.wait(60) == 0
    os.close(here)
    text = shown.decode()
    assert (
        "1. title: Pill 0" in text
        and "Please type a number from 0 to 3" in text
        and "DATA_COLUMNS=title,body" in text
        and "Ready" in text
    )
