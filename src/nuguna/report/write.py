"""Leave a report in a run folder: report.json for programs, report.html for people, README.md (the model
card) for the hub.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..base_models.catalog import BaseModel
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
    base: BaseModel,
    steps: Sequence[LoggedStep],
    folder: Path,
    *,
    translate: Translate,
    lang: str,
) -> None:
    """Write the page, the card and report.json into `folder`, texts in `lang` by `translate`.

    `steps` are all that were trained. report.json comes last: a folder that has it is a finished run.
    """
    write_text(folder / REPORT_PAGE, render_page(report, plan, translate, lang=lang, steps=steps))
    write_text(
        folder / CARD,
        render_card(
            report, translate, name=folder.resolve().name, licence=base.licence, languages=base.languages
        ),
    )
    write_json(folder / REPORT, report.to_json())
