"""The tower of wings as a picture: python -m tools.tower writes docs/architecture.svg anew; --check only says
whether it is stale.

Floors are the layers in pyproject.toml that import-linter holds the program to. Who imports whom is read from
the imports themselves. No number of lines or files is drawn, so that the picture changes only when the
building does.
"""

from __future__ import annotations

import argparse
import ast
import sys
from collections.abc import Iterator
from html import escape
from pathlib import Path

import tomlkit

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "nuguna"
PICTURE = ROOT / "docs" / "architecture.svg"
# what each wing is for, in both languages
WORDS = {
    "cli": ("the door: errors become sentences and exit codes", "현관: 오류를 문장과 종료 코드로"),
    "commands": ("the commands people type", "입력하는 명령들"),
    "ui": ("everything a terminal shows", "터미널에 보이는 모든 것"),
    "run": ("the path: one line a stage", "전체 길: 단계마다 한 줄"),
    "jobs": ("what the other commands do", "다른 명령들이 하는 일"),
    "stages": ("a plan becomes values, work becomes events", "계획은 값이, 하는 일은 이벤트가 되는 곳"),
    "report": ("report.json, report.html, model card", "보고서와 모델 카드"),
    "prove": ("checks that can fail", "실패할 수 있는 확인들"),
    "train": ("the training loop and its checkpoints", "학습 루프와 체크포인트"),
    "measure": ("scores with their intervals", "구간이 붙은 점수"),
    "model": ("a model in memory", "메모리에 올린 모델"),
    "plan": ("decisions with their reasons", "까닭이 붙은 결정"),
    "engine": ("the training step: tensors only", "학습 스텝: 텐서만"),
    "tokens": ("conversations become batches", "대화를 배치로"),
    "data": ("files become rows, rows conversations", "파일을 행으로, 행을 대화로"),
    "hub": ("the one way to ask the hub", "허브에 묻는 하나뿐인 길"),
    "base_models": ("models as data: known, checked", "데이터로 보는 모델: 목록과 검사"),
    "disk": ("whole files, run folder, lock, cache", "온전한 파일, 결과 폴더, 잠금, 캐시"),
    "machine": ("what this computer is", "이 컴퓨터가 어떤 것인지"),
    "text": ("language, units, secrets", "언어, 단위, 비밀 값"),
    "errors": ("what can go wrong, as a tree", "일어날 수 있는 오류"),
    "message": ("sentences apart from their language", "언어와 떼어 놓은 문장"),
    "version": ("the version of the program", "프로그램의 버전"),
}
WIDTH, MARGIN, HEADER, ROW, CELL = 800, 8, 96, 34, 15
STYLE = """
text { font: 13px system-ui, "Noto Sans KR", "Apple SD Gothic Neo", sans-serif; fill: #1f2328 }
.name { font-weight: 600 } .ko, .column { font-size: 11.5px; fill: #57606a }
.floor { fill: #f3f5f8; stroke: #d0d7de } .free { fill: #d0d7de } .dot { fill: #0969da }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3 } .ko, .column { fill: #9aa4af }
  .floor { fill: #1b222b; stroke: #3d444d } .free { fill: #30363d } .dot { fill: #58a6ff }
}"""


def floors() -> list[list[str]]:
    """Return the wings of each floor, the topmost floor first, as the import-linter contract names them."""
    contract = tomlkit.parse((ROOT / "pyproject.toml").read_text(encoding="utf-8")).unwrap()["tool"][
        "importlinter"
    ]["contracts"][0]
    named = [
        [wing.strip().removeprefix("nuguna.") for wing in layer.split("|")] for layer in contract["layers"]
    ]
    return [wings for wings in named if not wings[0].startswith("__")]


def imported(file: Path) -> Iterator[str]:
    """Yield the wing behind each import of the program's own modules in a file."""
    package = ["nuguna", *file.relative_to(SOURCE).parts[:-1]]
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            module = [*above, *(node.module.split(".") if node.module else [])]
            if module[0] == "nuguna":
                yield from [module[1]] if len(module) > 1 else [alias.name for alias in node.names]
        elif isinstance(node, ast.Import):
            yield from (alias.name.split(".")[1] for alias in node.names if alias.name.startswith("nuguna."))


def imports() -> dict[str, set[str]]:
    """Return, for each wing, the other wings that its files import."""
    found: dict[str, set[str]] = {wing: set() for wings in floors() for wing in wings}
    for file in sorted(SOURCE.rglob("*.py")):
        wing = file.relative_to(SOURCE).parts[0].removesuffix(".py")
        if wing in found:
            found[wing].update(other for other in imported(file) if other in found and other != wing)
    return found


def picture() -> str:
    """Return the picture as SVG: a row a wing, floor by floor, and a dot in the column of each wing that it
    imports.
    """
    tower, uses = floors(), imports()
    wings = [wing for floor in tower for wing in floor]
    left = WIDTH - MARGIN - CELL * len(wings)
    height = HEADER + ROW * len(wings) + MARGIN
    title = "The wings of nuguna, the topmost floor first; a dot: the wing of this row imports the wing of this column"
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{title}">',
        f"<style>{STYLE}\n</style>",
        f'<text x="{MARGIN}" y="24" class="name">A dot: this wing imports that one.</text>',
        f'<text x="{MARGIN}" y="44">All dots are right of the square: nothing imports upward.</text>',
        f'<text x="{MARGIN}" y="64" class="ko">점: 이 동이 저 동을 불러 써요. 점은 모두 네모 오른쪽에 있어요. 위층은 부르지 않아요.</text>',
    ]
    for number, wing in enumerate(wings):
        x = left + CELL * number + CELL / 2 + 4
        parts.append(
            f'<text class="column" transform="translate({x} {HEADER - 6}) rotate(-90)">{wing}</text>'
        )
    row = 0
    for floor in tower:
        y = HEADER + ROW * row
        tall = ROW * len(floor) - 4
        parts.append(
            f'<rect class="floor" x="{MARGIN}" y="{y}" width="{WIDTH - 2 * MARGIN}" height="{tall}" rx="5"/>'
        )
        for wing in floor:
            parts += _row(wing, HEADER + ROW * row, left, wings, uses[wing])
            row += 1
    return "\n".join([*parts, "</svg>"]) + "\n"


def _row(wing: str, y: int, left: int, wings: list[str], used: set[str]) -> Iterator[str]:
    """Yield one wing: its name, what it is for, and a dot for each wing that it imports."""
    english, korean = (escape(words) for words in WORDS[wing])
    yield f'<text class="name" x="{MARGIN + 10}" y="{y + 20}">{wing}</text>'
    yield f'<text x="{MARGIN + 114}" y="{y + 14}">{english}</text>'
    yield f'<text class="ko" x="{MARGIN + 114}" y="{y + 27}">{korean}</text>'
    own = wings.index(wing)
    for number, other in enumerate(wings):
        x = left + CELL * number + CELL / 2
        if other in used:
            yield f'<circle class="dot" cx="{x}" cy="{y + 15}" r="5"><title>{wing} imports {other}</title></circle>'
        elif number == own:
            yield f'<rect class="free" x="{x - 5}" y="{y + 10}" width="10" height="10" rx="2"/>'
        else:
            yield f'<circle class="free" cx="{x}" cy="{y + 15}" r="1.2"/>'


def main() -> None:
    """Write the picture, or with --check end with 1 if the one that is there is not the one to be written."""
    parser = argparse.ArgumentParser(description="Draw docs/architecture.svg from the imports.")
    parser.add_argument(
        "--check", action="store_true", help="write nothing, end with 1 if the picture is stale"
    )
    if not parser.parse_args().check:
        PICTURE.write_text(picture(), encoding="utf-8")
    elif not PICTURE.is_file() or PICTURE.read_text(encoding="utf-8") != picture():
        sys.exit("docs/architecture.svg is stale. Type: python -m tools.tower")


if __name__ == "__main__":
    main()
