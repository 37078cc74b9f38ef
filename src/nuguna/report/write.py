"""Leave a report in a run folder: report.json for programs, report.html for people, README.md (the model card) for the hub."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..disk.run_folder import CARD, REPORT, REPORT_PAGE, write_json, write_text
from ..plan.plan import Plan
from ..text.language import Translate
from ..train.step_log import LoggedStep
from .card import render_card
from .outcome import Report
from .page import render_page


def write_report(
    report: Report,
    plan: Plan,
    folder: Path,
    translate: Translate,
    *,
    lang: str,
    licence: str,
    languages: Sequence[str],
    steps: Sequence[LoggedStep],
) -> None:
    """Write the page, the card and report.json into `folder`, texts in `lang` by `translate`.

    `licence` and `languages` (ISO 639-1) are the base model's; `steps` are all that were trained. report.json comes last: a
    folder that has it is a finished run.
    """
    write_text(folder / REPORT_PAGE, render_page(report, plan, translate, lang=lang, steps=steps))
    write_text(folder / CARD, render_card(report, translate, name=folder.resolve().name, licence=licence, languages=languages))
    write_json(folder / REPORT, report.to_json())
