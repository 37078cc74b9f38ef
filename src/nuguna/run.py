"""THE PATH: from a wish to a proven adapter, every stage in order. Who reads `run` below knows the
program.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from .disk.run_folder import PLAN
from .machine.hardware import Hardware, detect
from .message import say
from .model.adapter import base_fingerprint
from .plan.misfit import misfit
from .plan.plan_file import write_plan
from .plan.settings import Request
from .prove.checks import probe_logits
from .report.outcome import Report, loss_curve
from .report.write import write_report
from .stages.conclude import conclude
from .stages.decide import decide_or_go_on
from .stages.divide import divide
from .stages.events import Finished, Note, Planned, Proved, RowsRead, Scored, Stage, Tell, quiet
from .stages.folder import prepared_folder
from .stages.load import attach, bring, save
from .stages.measure import measure_all, scores
from .stages.preflight import preflight
from .stages.prove import After, Before, prove
from .stages.read import read_data
from .stages.tensorboard import with_tensorboard
from .stages.train import train_adapter
from .text.language import Translate
from .tokens.tokenizer import silence_libraries
from .train.checkpoint import drop_checkpoints


def run(
    request: Request,
    *,
    tell: Tell = quiet,
    translate: Translate = str,
    lang: str = "en",
    edited: Mapping[str, Any] | None = None,
    hardware: Hardware | None = None,
) -> Report:
    """Do the whole job and leave a complete run folder.

    `tell` receives what happens (`events`), `translate` gives texts of the report in the language `lang`.
    `edited` are values of a plan file that have no setting of their own. Errors of the user's input are
    raised before anything is written.
    """
    began = time.perf_counter()
    silence_libraries()
    tell(Stage(say("Looking at the machine")))
    hardware = hardware or detect(Path.cwd())
    tell(Stage(say("Reading the data")))
    dataset = read_data(request, lambda count: tell(RowsRead(count)))
    for note in dataset.notes:
        tell(Note(note))
    plan, base = decide_or_go_on(request, hardware, dataset, edited)
    tell(Planned(plan, hardware))
    if (error := misfit(plan)) is not None:
        raise error
    with prepared_folder(plan, dataset, tell) as (folder, plan_hash):
        write_plan(plan, folder / PLAN, translate)
        tell = with_tensorboard(tell, folder, plan.max_steps.value)

        tell(Stage(say("Loading the base model")))
        place, loaded = bring(base, plan, tell)
        parts = divide(loaded, dataset, plan, tell)

        tell(Stage(say("Measuring the base model on questions it will not be trained on")))
        before = measure_all(loaded, parts, plan, tell)
        untrained = Before(before, base_fingerprint(loaded.model), probe_logits(loaded, parts.probes))

        tell(Stage(say("Training")))
        tuned = attach(loaded, base, plan)
        preflight(tuned, parts, plan, untrained.logits, tell)
        rewrite = partial(write_plan, path=folder / PLAN, translate=translate)  # with what memory allowed
        trained, steps = train_adapter(tuned, parts, plan, folder, plan_hash, tell, rewrite)

        tell(Stage(say("Measuring the trained model on the same questions")))
        save(tuned, plan, folder)
        after = measure_all(tuned, parts, plan, tell)
        tell(Scored(*scores(before, after), loss_curve(steps)))

        tell(Stage(say("Checking that the result works")))
        checks = prove(untrained, After(tuned, after, trained), parts, plan, place, folder)
        tell(Proved(checks))
        report = conclude(plan, parts, before, after, trained, checks)
        write_report(report, plan, base, steps, folder, translate=translate, lang=lang)
        drop_checkpoints(folder)
        tell(Finished(report.status == "succeeded", folder, time.perf_counter() - began))
        return report
