"""THE PATH: from a wish to a proven adapter, every stage in order. Who reads `run` below knows the program."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .catalog import BaseModel
from .checkpoint import drop_checkpoints
from .checks import (
    Check,
    check_adapter_file,
    check_answers_stop,
    check_base_unchanged,
    check_changes_answers,
    check_loss_fell,
    check_reload,
    probe_logits,
)
from .data.batch import split
from .data.conversation import Conversation, Dataset, describe, load_dataset
from .data.encode import Encoded, encode
from .engine.loss import can_split_head
from .errors import DataError
from .evaluate import Measured, end_probability, measure
from .events import Finished, Note, Planned, Proved, Scored, Stage, Tell
from .hardware import Hardware, detect
from .hub import candidates, fetch
from .language import Translate
from .message import say
from .model import Loaded, attach_adapter, base_fingerprint, load_base, reload_adapter, save_adapter, silence_libraries
from .plan import Plan, make_plan
from .planfile import write_plan
from .report import Report, Sample, write_report
from .runfolder import PLAN, is_ours, make_folder
from .settings import Request
from .training import prepare_folder, train_adapter

NUM_PROBES = 3  # questions whose logits are compared for the proofs
UNSEEN_ANSWERS = 32  # fewer than the main part: they are reported beside it, not judged


def run(
    request: Request,
    *,
    tell: Tell,
    translate: Translate,
    lang: str = "en",
    edited: Mapping[str, Any] | None = None,
    hardware: Hardware | None = None,
) -> Report:
    """Do the whole job and leave a complete run folder. Errors of the user's input are raised before anything is written."""
    began = time.perf_counter()
    silence_libraries()
    tell(Stage(say("Looking at the machine")))
    hardware = hardware or detect(Path.cwd())
    tell(Stage(say("Reading the data")))
    dataset = load_dataset(request.data or "demo")
    plan, base = decide(request, hardware, dataset, edited)
    tell(Planned(plan, hardware))
    folder, mark = prepare_folder(plan, tell)
    write_plan(plan, folder / PLAN, translate)

    tell(Stage(say("Loading the base model")))
    place = fetch(base, free_disk_bytes=hardware.free_disk_bytes, on_progress=lambda done, total: None)
    loaded = load_base(place, dtype=plan.dtype.value, device=plan.device.value, quantization=plan.quantization.value)
    parts = divide(loaded, dataset, plan, tell)

    tell(Stage(say("Measuring the base model on questions it will not be trained on")))
    before = measure_all(loaded, parts, plan)
    fingerprint = base_fingerprint(loaded.model)
    untrained_logits = probe_logits(loaded, parts.probes)

    tell(Stage(say("Training")))
    tuned = attach(loaded, base, place, plan)
    trained, losses = train_adapter(tuned, parts.train, plan, folder, mark, tell)

    tell(Stage(say("Measuring the trained model on the same questions")))
    save_adapter(tuned.model, tuned.tokenizer, folder)
    after = measure_all(tuned, parts, plan)
    tell(Scored(before.metrics, after.metrics, unseen_metrics(before, after)))

    tell(Stage(say("Proving that the result works")))
    checks = prove(tuned, place, plan, folder, parts, before, after, fingerprint, untrained_logits)
    tell(Proved(checks))
    report = Report(
        status="succeeded" if all(check.passed for check in checks) else "failed",
        model=plan.model.value,
        data=plan.data.value,
        before=before.metrics,
        after=after.metrics,
        unseen=unseen_metrics(before, after),
        train=trained,
        checks=checks,
        samples=samples(parts, before, after),
    )
    write_report(report, plan, folder, translate, lang=lang, licence=base.licence, languages=base.languages, losses=losses)
    drop_checkpoints(folder)
    tell(Finished(report.status == "succeeded", folder, time.perf_counter() - began))
    return report
