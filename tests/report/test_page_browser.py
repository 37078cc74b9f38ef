"""Our pages in a real browser, where one is installed: nothing sticks out, all is drawn, nothing is loaded,
one click sorts.
"""

from __future__ import annotations

import html
import json
import re
import shutil
import struct
import subprocess
from pathlib import Path
from typing import Any

import pytest

from nuguna.jobs.compare import write_comparison
from nuguna.text.language import translator
from tests.jobs.test_compare import three
from tests.report.test_report import MAYBE, a_report, page

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
FLAGS = (
    "--headless=new --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --hide-scrollbars --enable-logging=stderr "
    "--allow-file-access-from-files"
).split()
HEIGHT = 4000
# A window of Chromium cannot be as narrow as a phone, so the page is opened in a frame that can. The probe
# looks into it.
PROBE = """<!doctype html><meta charset="utf-8"><body style="margin:0">
<iframe id="page" src="PAGE" style="border:0;width:WIDTHpx;height:HEIGHTpx"></iframe>
<script>
onload = () => {
  const page = document.getElementById("page"), its = page.contentDocument, root = its.documentElement
  const box = (one) => one.getBoundingClientRect()
  const seen = () => [...its.querySelectorAll(".sample")].filter((one) => box(one).height > 0)
    .sort((a, b) => box(a).top - box(b).top).map((one) => +one.querySelector(".nth").textContent)
  its.querySelectorAll("details").forEach((one) => { one.open = true })
  const found = {
    scroll: root.scrollWidth, inner: page.contentWindow.innerWidth, scripts: its.scripts.length,
    loaded: page.contentWindow.performance.getEntriesByType("resource").map((one) => one.name),
    drawn: [...its.querySelectorAll("svg, svg polyline, svg path, .strip b")].map((one) => [box(one).width, box(one).height]),
    wide: [...its.querySelectorAll("main *")].filter((one) => box(one).right > innerWidthOf() + 1 && !clipped(one)).length,
    paper: page.contentWindow.getComputedStyle(its.body).backgroundColor, lang: root.lang, first: seen(),
  }
  function innerWidthOf() { return page.contentWindow.innerWidth }
  function clipped(one) { return one.closest("thead, legend") }
  its.getElementById("worst-first")?.click()
  found.worst = seen()
  const out = document.createElement("pre")
  out.id = "found"
  out.textContent = JSON.stringify(found)
  document.body.append(out)
}
</script>"""


@pytest.fixture(scope="module")
def browser() -> str:
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        pytest.skip("no Chromium or Chrome on PATH")
    return found


def look(browser: str, folder: Path, width: int, *flags: str, page: str = "report.html") -> dict[str, Any]:
    """Open a page in a folder at a width; what the probe found, the console's lines, and the picture that was
    taken.
    """
    probe, picture = folder / f"probe-{width}.html", folder / f"{width}.png"
    probe.write_text(PROBE.replace("PAGE", page).replace("WIDTH", str(width)).replace("HEIGHT", str(HEIGHT)), "utf-8")
    size = [f"--window-size={max(width, 500)},{HEIGHT}", f"--user-data-dir={folder / f'profile-{width}'}"]
    command = [browser, *FLAGS, *size, *flags, f"--screenshot={picture}", "--dump-dom", probe.as_uri()]
    shown = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", timeout=120, check=False)
    dumped = re.search(r'<pre id="found">(.*?)</pre>', shown.stdout, re.DOTALL)
    assert dumped, shown.stderr[-2000:]
    console = [line for line in shown.stderr.splitlines() if "CONSOLE" in line]
    return {**json.loads(html.unescape(dumped[1])), "console": console, "picture": picture.read_bytes()}


@pytest.mark.slow
@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("lang", ["en", "ko"])
def test_the_page_is_whole_on_a_phone_and_on_a_desk(
    browser: str, lang: str, width: int, finished_run: Path, tmp_path: Path
) -> None:
    if lang == "en":  # of a real run; the Korean one, of made-up values, has more questions than are shown at first
        shutil.copy(finished_run / "report.html", tmp_path)
    else:
        (tmp_path / "report.html").write_text(page(a_report(MAYBE), "ko"), "utf-8")
    found = look(browser, tmp_path, width)
    assert found["lang"] == lang
    assert found["console"] == [] and found["loaded"] == [] and found["scripts"] == 0
    assert found["inner"] == width and found["scroll"] <= width and found["wide"] == 0
    assert len(found["drawn"]) > 12 and all(w > 0 or h > 0 for w, h in found["drawn"])
    assert struct.unpack(">II", found["picture"][16:24]) == (max(width, 500), HEIGHT)
    assert len(found["picture"]) > 30_000  # an empty page takes a tenth of that
    if lang == "ko":
        assert found["first"] == list(range(1, 13)) and found["worst"] == [2, 50, 60, 40, 1, 3, 4, 5, 6, 7, 8, 9]


@pytest.mark.slow
@pytest.mark.parametrize(("lang", "width"), [("en", 1280), ("ko", 390)])
def test_the_comparison_of_runs_is_whole_on_a_phone_and_on_a_desk(
    browser: str, lang: str, width: int, finished_run: Path, tmp_path: Path
) -> None:
    found = three(finished_run, tmp_path)
    write_comparison(found, tmp_path / "comparison.html", translator(lang), lang=lang)
    shown = look(browser, tmp_path, width, page="comparison.html")
    assert shown["lang"] == lang
    assert shown["console"] == [] and shown["loaded"] == [] and shown["scripts"] == 0
    assert shown["inner"] == width and shown["scroll"] <= width and shown["wide"] == 0
    assert len(shown["drawn"]) > 12 and all(w > 0 or h > 0 for w, h in shown["drawn"])
    assert len(shown["first"]) > 5 and len(shown["picture"]) > 30_000


@pytest.mark.slow
def test_the_page_is_dark_where_the_system_is(browser: str, tmp_path: Path) -> None:
    (tmp_path / "report.html").write_text(page(a_report(failed=True)), "utf-8")
    light, dark = (look(browser, tmp_path, 1280, *flags) for flags in ((), ("--blink-settings=preferredColorScheme=0",)))
    assert light["paper"] == "rgb(250, 247, 241)" and dark["paper"] == "rgb(23, 22, 19)"
