"""What the documentation says is held against the program: settings, models, commands, files, links, numbers,
code.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

import nuguna
from nuguna.base_models.catalog import BaseModel, demo_model, load_catalog
from nuguna.cli import app
from nuguna.data.dataset import load_dataset
from nuguna.data.files.read import DEMO_FOLDER, FORMATS
from nuguna.plan.plan import value_names
from nuguna.plan.plan_values import PLAN_VALUES
from nuguna.plan.settings import SETTINGS
from nuguna.tokens.template import DEFAULT_TEMPLATE
from tests.program.test_cli import nuguna as nuguna_as_typed

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "nuguna"
READMES = {"en": ROOT / "README.md", "ko": ROOT / "README.ko.md"}
CARDS = {"data": DEMO_FOLDER / "DATA_CARD.md", "model": ROOT / "tools" / "demo" / "MODEL_CARD.md"}
DOCS = sorted(
    [*ROOT.glob("*.md")]
    + [path for folder in ("docs", "examples", "benchmarks", "tools", "src") for path in (ROOT / folder).rglob("*.md")]
)
MAX_README_LINES = 250  # what a beginner reads before anything else; long tables stand in docs/
# variables that are no settings of a run: for the set-up, and those of pip and of the hub's library
OTHER_VARIABLES = {"PYTHON", "NUGUNA_TORCH", "PIP_NO_INDEX", "PIP_FIND_LINKS", "HF_HUB_OFFLINE", "HF_HOME", "HF_TOKEN"}
# of the libraries of threads and kernels, in docs/log.md; of the desktop's standard, in docs/data.md
OTHER_VARIABLES |= {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "LRU_CACHE_CAPACITY", "XDG_CACHE_HOME"}
OTHER_VARIABLES |= {"NUGUNA_TEST_ALL"}  # of our own tests

in_both_languages = pytest.mark.parametrize("lang", READMES)
in_every_document = pytest.mark.parametrize("path", DOCS, ids=lambda path: str(path.relative_to(ROOT)))


def page(name: str, lang: str) -> Path:
    """Return a guide in one of the languages; every guide for beginners is there in both."""
    return ROOT / "docs" / (f"{name}.md" if lang == "en" else f"{name}.{lang}.md")


def text(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def between(path: Path, name: str) -> str:
    """Return what stands between <!-- name:begin --> and <!-- name:end -->."""
    found = re.search(rf"<!-- {name}:begin -->\n(.*?)<!-- {name}:end -->", text(path), re.DOTALL)
    assert found, f"{path.name} has no part {name}"
    return found[1]


def blocks(path: Path, *languages: str) -> list[str]:
    """Return the fenced blocks of code in these languages."""
    return [body for name, body in re.findall(r"^```(\w*)\n(.*?)^```", text(path), re.MULTILINE | re.DOTALL) if name in languages]


def inline(path: Path) -> list[str]:
    return re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```", "", text(path), flags=re.MULTILINE | re.DOTALL))


def rows(table: str) -> list[list[str]]:
    """Return the cells of a Markdown table, heading and rule left out."""
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in table.splitlines() if line.startswith("|")][2:]


# ---- tables made from the program


def settings_table(lang: str) -> list[list[str]]:
    """Return one row a setting: name, variable, flag, default. What it means stands in each language's own
    words.
    """
    derived = {"en": "decided for you", "ko": "알아서 정해요"}[lang]
    defaults = [f"`{s.default}`" if s.default is not None else derived for s in SETTINGS]
    return [[f"`{s.name}`", f"`{s.env}`", f"`{s.flag}`", default] for s, default in zip(SETTINGS, defaults, strict=True)]


def models_table(lang: str) -> list[list[str]]:
    """Return one row a model: name, parameters, download, languages, licence, and whether auto takes it or an
    account is needed.
    """
    account, inside = {"en": ("account", "in the package"), "ko": ("계정", "들어 있음")}[lang]

    def row(model: BaseModel) -> list[str]:
        millions = round(model.num_parameters / 1e6)
        size = f"{millions / 1000:.1f} B" if millions >= 1000 else f"{millions} M"
        download = f"{model.download_bytes / 1e9:.1f} GB" if model.download_bytes else inside
        note = account if model.gated else "auto" if model.quality > 0 or model.id == "demo" else ""
        return [f"`{model.id}`", size, download, ", ".join(model.languages), model.licence, note]

    return [row(model) for model in (demo_model(), *load_catalog())]


def as_markdown(table: list[list[str]]) -> str:
    return "\n".join("| " + " | ".join(row) + " |" for row in table)


@in_both_languages
def test_the_settings_are_those_of_the_program(lang: str) -> None:
    found = rows(between(page("settings", lang), "settings"))
    expected = settings_table(lang)
    assert [[name, env, flag, default] for name, env, flag, _, default in found] == expected, as_markdown(expected)
    if lang == "en":
        assert [meaning for _, _, _, meaning, _ in found] == [str(setting.meaning) for setting in SETTINGS]
    assert all(meaning for _, _, _, meaning, _ in found)


@in_both_languages
def test_the_models_are_those_of_the_catalogue(lang: str) -> None:
    expected = models_table(lang)
    assert rows(between(page("models", lang), "models")) == expected, as_markdown(expected)


@in_both_languages
def test_the_demo_models_own_values_are_said_as_they_are(lang: str) -> None:
    demo = demo_model()
    said = {
        "en": f"{demo.max_steps} steps, {demo.batch_size} examples a step, a learning rate of {demo.learning_rate}",
        "ko": f"{demo.max_steps} 스텝, 한 스텝에 예제 {demo.batch_size}개, 학습률 {demo.learning_rate}",
    }
    assert said[lang] in " ".join(text(page("settings", lang)).split())


@in_both_languages
def test_the_files_of_a_run_are_explained(lang: str, finished_run: Path) -> None:
    explained = text(page("results", lang))
    for name in (path.name for path in finished_run.iterdir()):
        assert re.search(rf"^  (\S+  )*{re.escape(name)}/?(\s|$)", explained, re.MULTILINE), name


@pytest.mark.parametrize("name", ["README", "results", "settings", "models", "python", "architecture"])
def test_a_page_has_the_same_parts_in_both_languages(name: str) -> None:
    pages = [READMES[lang] if name == "README" else page(name, lang) for lang in READMES]
    english, korean = (re.findall(r"^(#+) |^(```\w*)$|^(\||- |\d\. )", text(path), re.MULTILINE) for path in pages)
    assert english == korean


def test_the_snippet_without_nuguna_is_the_same_in_both_languages() -> None:
    assert blocks(page("python", "en"), "python")[0] == blocks(page("python", "ko"), "python")[0]


def test_every_page_leads_to_the_other_language_and_the_korean_readme_to_korean_pages() -> None:
    for korean in [READMES["ko"], *(ROOT / "docs").glob("*.ko.md")]:
        english = korean.with_name(korean.name.replace(".ko.md", ".md"))
        assert f"({korean.name})" in text(english) and f"({english.name})" in text(korean), korean.name
        assert korean == READMES["ko"] or f"({korean.name})" in text(ROOT / "docs" / "README.md"), korean.name
    english_pages = set(re.findall(r"\(docs/(\w+)\.md", text(READMES["ko"])))
    assert not [name for name in english_pages if page(name, "ko").exists()]


@in_both_languages
def test_the_readme_is_short_enough_for_a_beginner(lang: str) -> None:
    assert len(text(READMES[lang]).splitlines()) <= MAX_README_LINES


def test_the_index_of_the_guides_names_every_guide() -> None:
    index = text(ROOT / "docs" / "README.md")
    missing = [path.name for path in (ROOT / "docs").glob("*.md") if path.name != "README.md" and f"({path.name})" not in index]
    assert not missing


def test_the_changelog_begins_with_this_version() -> None:
    assert re.findall(r"^## \[(.+?)\]", text(ROOT / "CHANGELOG.md"), re.MULTILINE)[0] == nuguna.__version__


@in_both_languages
def test_the_plan_guide_has_every_key(lang: str) -> None:
    table = rows(text(page("plan", lang)))
    assert [name.strip("`") for name, _, _ in table] == list(value_names())
    for name, _, may_be in table:
        if choices := PLAN_VALUES[name.strip("`")].choices:
            assert set(re.findall("`(.+?)`", may_be)) == {str(choice).lower() for choice in choices}, name


def test_the_other_guides_agree_with_the_program() -> None:
    for name in ("data.md", "data.ko.md"):
        endings = [ending for row in rows(text(ROOT / "docs" / name)) for ending in re.findall(r"`(\.\w+)`", row[0])]
        assert sorted(endings) == sorted(FORMATS)
    assert DEFAULT_TEMPLATE in text(ROOT / "docs" / "templates.md")


# the shape of each example in docs/data.md, in order, and what its first conversation says last
DATA_EXAMPLES = {
    "csv": [
        ("question+answer", "A disease of the airways."),
        ("질문+답변", "기도에 생기는 병이에요."),
        ("문제+보기1…보기3+정답", "B. 심장"),
    ],
    "txt": [("question+answer", "기도에 생기는 병이에요.")],
    "json": [("system+instruction+input+output", "liver")],
    "jsonl": [
        ("question+choices+answer", "B. The heart"),
        ("messages", "Hello."),
        ("conversations", "Hello."),
        ("messages", "5 ml."),
        ("messages", "Six."),
        ("text", "Asthma is a disease of the airways. They become narrow, and breathing out is hard."),
        ("text (llama-2)", "A disease of the airways."),
        ("prompt+chosen", "A disease of the airways."),
    ],
}


@pytest.mark.parametrize("name", ["data.md", "data.ko.md"])
def test_every_example_of_a_dataset_is_read_as_the_guide_says(name: str, tmp_path: Path) -> None:
    for kind, expected in DATA_EXAMPLES.items():
        examples = blocks(ROOT / "docs" / name, kind)
        assert examples == blocks(ROOT / "docs" / "data.md", kind)
        for number, (example, (shape, answer)) in enumerate(zip(examples, expected, strict=True)):
            file = tmp_path / f"{number}.{kind}"
            file.write_text(example, encoding="utf-8")
            dataset = load_dataset(str(file))
            assert (dataset.shape, dataset.train[0].answer, dataset.num_bad) == (shape, answer, 0)
            assert len(dataset.train) == dataset.num_rows


def keys_of(document: Any) -> set[str]:
    """Return every key of a JSON document, at any depth."""
    inner = document.values() if isinstance(document, dict) else document if isinstance(document, list) else []
    return (set(document) if isinstance(document, dict) else set()).union(*map(keys_of, inner))


def test_the_documents_for_programs_hold_the_keys_that_the_design_names(tmp_path: Path, finished_run: Path) -> None:
    good = [{"question": f"What is number {i}?", "answer": f"It is {i}."} for i in range(30)]
    lines = [json.dumps(pair) for pair in good] + [json.dumps({"prediction": "It is 1.", "reference": "It is 1."})] * 6
    (tmp_path / "pairs.jsonl").write_text("\n".join([*lines[:30], "{broken"]), encoding="utf-8")
    (tmp_path / "answers.jsonl").write_text("\n".join(lines[30:]), encoding="utf-8")
    documents = {
        "nuguna check --json": nuguna_as_typed(tmp_path, "check", "--json").stdout,
        "nuguna plan --json": nuguna_as_typed(tmp_path, "plan", "--model", "demo", "--json").stdout,
        "nuguna train --json": text(finished_run / "report.json"),
        "nuguna ask --json": nuguna_as_typed(finished_run.parent, "ask", "results", "What is number 1?", "--json").stdout,
        "nuguna data FILE --json": nuguna_as_typed(tmp_path, "data", "pairs.jsonl", "--json").stdout,
        "nuguna score FILE --json": nuguna_as_typed(tmp_path, "score", "answers.jsonl", "--json").stdout,
    }
    named = {row[0].split("`")[1]: re.sub(r"\([^)]*\)", "", row[1]) for row in rows(text(ROOT / "docs" / "design.md"))}
    assert set(documents) <= set(named)
    for command, document in documents.items():
        promised = set(re.findall(r"`(\w+)`", named[command]))
        assert promised and promised <= keys_of(json.loads(document)), command


def test_the_cards_say_the_right_numbers() -> None:
    for name, count in re.findall(r"^\| `(\w+\.jsonl)` \| ([\d,]+)", text(CARDS["data"]), re.MULTILINE):
        assert len(text(DEMO_FOLDER / name).splitlines()) == int(count.replace(",", "")), name
    demo = demo_model()
    model_card = text(CARDS["model"])
    assert f"{demo.num_parameters / 1e6:.2f} million" in model_card
    for number in (demo.shape.vocab_size, demo.context_tokens):
        assert f"{number:,} tokens" in model_card
    shape = demo.shape
    assert f"{shape.num_layers} layers, {shape.hidden_size} wide, feed-forward {shape.intermediate_size}" in model_card
    assert f"{shape.num_heads} attention heads over {shape.num_kv_heads} key/value heads" in model_card


# ---- commands, files and code


def typed(path: Path) -> Iterator[list[str]]:
    """Yield the words of every command of ours that a document shows: `nuguna …`, and `./run.sh …` as `train
    …`.
    """
    lines = [*inline(path), *"\n".join(blocks(path, "bash", "powershell")).splitlines()]
    for line in lines:
        if found := re.search(r"(?:^|[\s/\\])(nuguna(?:\.exe)?|run\.sh|run\.ps1)(?:\s+(.*))?$", line):
            words = shlex.split(found[2] or "", comments=True)
            if found[1].startswith("run"):
                yield ["train", *words]
            elif words:
                yield words


@in_every_document
def test_every_command_and_flag_exists(path: Path) -> None:
    commands: dict[str, Any] = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    for command, *words in typed(path):
        assert command in commands, f"nuguna {command}"
        flags = {option for parameter in commands[command].params for option in parameter.opts}
        assert {word for word in words if word.startswith("-")} <= flags | {"--help"}, f"nuguna {command} {words}"


@in_every_document
def test_every_variable_exists(path: Path) -> None:
    code = "\n".join([*inline(path), *blocks(path, "bash")])
    named = set(re.findall(r"(?:^|\s)([A-Z][A-Z_]+)=", code, re.MULTILINE))
    assert named <= {setting.env for setting in SETTINGS} | OTHER_VARIABLES


@in_every_document
def test_every_file_and_link_leads_somewhere(path: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", text(path)):
        name, _, anchor = target.partition("#")
        if name.startswith(("http:", "https:")):
            continue
        linked = path.parent / name if name else path
        assert linked.exists(), target
        if anchor:
            headings = re.findall(r"^#+ (.+)$", text(linked), re.MULTILINE)
            assert anchor in [re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings], target
    folders, roots = (r"(src|docs|tools|tests|examples|benchmarks)/[\w./-]+", r"[\w-]+\.(sh|ps1)|requirements[\w-]*\.txt")
    for code in (word for part in [*inline(path), *blocks(path, "bash", "powershell")] for word in part.split()):
        if re.fullmatch(rf"(\./)?({folders}|{roots})", code):
            assert (ROOT / code).exists(), code
    for module in re.findall(r"-m (tools[\w.]+)", text(path)):
        assert (ROOT / module.replace(".", "/")).with_suffix(".py").is_file(), module


def named_modules(path: Path) -> Iterator[str]:
    """Yield every Python file that a document names, such as `engine/loss.py` or `loss.py`, in a sentence or
    a block.
    """
    code = [*inline(path), *blocks(path, "", "bash", "text")]
    yield from (name for part in code for name in re.findall(r"(?<![\w/.-])(?:\./)?((?:[\w-]+/)*\w+\.py)\b", part))


@in_every_document
def test_every_module_that_is_named_exists(path: Path) -> None:
    known = {
        file.name for folder in ("src", "tests", "tools", "examples", "benchmarks") for file in (ROOT / folder).rglob("*.py")
    }
    for name in named_modules(path):
        places = [folder / name for folder in (ROOT, SOURCE, path.parent)]
        assert any(place.is_file() for place in places) if "/" in name else name in known, name
    for dotted in (name for part in inline(path) for name in re.findall(r"\bnuguna\.([a-z_]+(?:\.[a-z_]+)*)\b(?!\()", part)):
        place = SOURCE / dotted.replace(".", "/")
        is_file_name = dotted in {"po", "mo", "pot", "exe"}
        assert is_file_name or dotted in nuguna.__all__ or place.is_dir() or place.with_suffix(".py").is_file(), (
            f"nuguna.{dotted}"
        )


def test_a_module_that_was_moved_away_is_noticed(tmp_path: Path) -> None:
    document = tmp_path / "guide.md"
    document.write_text(
        "See `data/shape.py` and `src/nuguna/chat.py`.\n\n```\nreport/measures.py  numbers\n```\n", encoding="utf-8"
    )
    assert list(named_modules(document)) == ["data/shape.py", "src/nuguna/chat.py", "report/measures.py"]
    with pytest.raises(AssertionError, match=r"data/shape\.py"):
        test_every_module_that_is_named_exists(document)


@in_every_document
def test_nothing_of_the_machine_it_was_written_on(path: Path) -> None:
    assert not re.search(r"/(work|root|home|tmp|Users)/", text(path))


@in_both_languages
def test_the_snippet_without_nuguna_works_on_a_finished_run(
    lang: str, finished_run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    snippet = next(block for block in blocks(page("python", lang), "python") if "PeftModel" in block)
    for call in (
        "AutoModelForCausalLM.from_pretrained(base)",
        'PeftModel.from_pretrained(model, "./results")',
        'tokenizer.encode(text, return_tensors="pt")',
        "max_length=100, pad_token_id=tokenizer.eos_token_id)",
    ):
        assert call in snippet
    monkeypatch.chdir(finished_run.parent)
    exec(compile(snippet, page("python", lang).name, "exec"), {})
    assert capsys.readouterr().out.strip()


@in_every_document
def test_all_python_that_is_shown_is_python(path: Path) -> None:
    for block in blocks(path, "python"):
        compile(block, path.name, "exec")
        assert set(re.findall(r"\bnuguna\.(\w+)", block)) <= set(nuguna.__all__)
