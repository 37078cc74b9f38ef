"""The proofs after training. Each is one named fact that can fail; a run with a failed one is not a success."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from .data.encode import encode_prompt
from .message import Message, say
from .model import Loaded
from .runfolder import ADAPTER

# Largest difference of logits between the model in memory and the reloaded folder. Both compute the same sums in the same order,
# so that it is 0 in float32 as in bfloat16 (measured on a CPU); more than this is another adapter.
RELOAD_TOLERANCE = 1e-3


@dataclass(frozen=True)
class Check:
    """One proof: its name in report.json, whether it holds, what was seen, and what to try when it does not."""

    name: str
    passed: bool
    detail: Message
    fix: Message | None = None

    def to_json(self) -> dict[str, Any]:
        """One entry of `checks` in report.json."""
        document: dict[str, Any] = {"name": self.name, "passed": self.passed, "detail": str(self.detail)}
        if not self.passed and self.fix is not None:
            document["fix"] = str(self.fix)
        return document


def check_adapter_file(folder: Path) -> Check:
    """The saved weights are finite, and at least one B matrix is not zero (else the adapter would change nothing)."""
    tensors = load_file(folder / ADAPTER)
    broken = [name for name, tensor in tensors.items() if not bool(torch.isfinite(tensor).all())]
    moved = sum(bool(torch.any(tensor != 0)) for name, tensor in tensors.items() if "lora_B" in name)
    numbers = sum(tensor.numel() for tensor in tensors.values())
    if broken:
        detail = say("{count} tensors hold values that are not numbers, first {name}", count=len(broken), name=broken[0])
    elif not moved:
        detail = say("all B matrices are zero: nothing was learned")
    else:
        detail = say(
            "{numbers} finite numbers in {tensors} tensors, {moved} B matrices moved",
            numbers=f"{numbers:,}",
            tensors=len(tensors),
            moved=moved,
        )
    fix = say("Lower the learning rate: LEARNING_RATE=0.0001 ./run.sh") if broken else say("Train longer: MAX_STEPS=200 ./run.sh")
    return Check("adapter_weights", not broken and moved > 0, detail, fix)


def check_base_unchanged(before: str, after: str) -> Check:
    """Fingerprints of the base weights before and after training are equal."""
    same = before == after
    detail = (
        say("fingerprint {mark} before and after", mark=before[:12])
        if same
        else say("the fingerprint changed from {a} to {b}", a=before[:12], b=after[:12])
    )
    return Check("base_unchanged", same, detail, say("This is a fault in the program: please report it with the log file."))


@torch.no_grad()
def probe_logits(loaded: Loaded, prompts: Sequence[Sequence[Any]]) -> list[torch.Tensor]:
    """Logits of the last token of each prompt, float32 on the CPU: what the next word would be."""
    device = next(loaded.model.parameters()).device
    was_training = loaded.model.training
    loaded.model.eval()
    rows = []
    for turns in prompts:
        ids = torch.tensor([encode_prompt(loaded.tokenizer, turns)], device=device)
        rows.append(loaded.model(input_ids=ids, use_cache=False).logits[0, -1].float().cpu())
    loaded.model.train(was_training)
    return rows


def check_reload(in_memory: Sequence[torch.Tensor], reloaded: Sequence[torch.Tensor]) -> Check:
    """The saved folder, opened by plain transformers and peft, computes what the trained model computed."""
    difference = _largest_difference(in_memory, reloaded)
    detail = say(
        "largest difference of logits {difference}, allowed {tolerance}",
        difference=f"{difference:.1e}",
        tolerance=f"{RELOAD_TOLERANCE:.0e}",
    )
    return Check(
        "reloads_the_same", difference <= RELOAD_TOLERANCE, detail, say("Free disk space and memory, then train again: ./run.sh")
    )


def check_changes_answers(base: Sequence[torch.Tensor], tuned: Sequence[torch.Tensor]) -> Check:
    """With the adapter the model computes something else than without."""
    difference = _largest_difference(base, tuned)
    detail = say("logits differ from the base model by up to {difference}", difference=f"{difference:.2f}")
    return Check("changes_the_model", difference > RELOAD_TOLERANCE, detail, say("Train longer: MAX_STEPS=200 ./run.sh"))


def _largest_difference(a: Sequence[torch.Tensor], b: Sequence[torch.Tensor]) -> float:
    worst = max(float((x - y).abs().max()) for x, y in zip(a, b, strict=True))
    return worst if math.isfinite(worst) else math.inf


def check_loss_fell(before: float, after: float) -> Check:
    """Held-out loss is lower than before."""
    detail = say("held-out loss {before} before, {after} after", before=f"{before:.3f}", after=f"{after:.3f}")
    fix = say("Train longer or with a lower learning rate: MAX_STEPS=200 LEARNING_RATE=0.0001 ./run.sh")
    return Check("heldout_loss_fell", math.isfinite(after) and after < before, detail, fix)


STOPS = 0.9  # share of answers that must end by themselves
# Chance of having ended by where the right answer ends. A model that knows only how often answers end, not where, gets 0.5 when
# lengths vary as chance has it (E[1 - exp(-L / mean L)] for exponential L); half of that is asked for. Where the end token is not
# trained it goes to 0: every other token that is trained pushes it down.
LEARNED_ENDS = 0.25


def check_answers_stop(stop_rate: float, chance_before: float | None, chance_after: float | None) -> Check:
    """Answers end by themselves, or, where right answers are long, the model has learned when to end.

    `stop_rate` is the share of generated answers that stopped. `chance_before` and `chance_after` are `evaluate.stop_chance`;
    None when all held-out answers are cut by the window, so that no end was ever seen.
    """
    percent = _percent(stop_rate)
    if chance_before is None or chance_after is None:
        detail = say("every held-out answer is longer than the window, so the model never sees an end")
        return Check("answers_stop", stop_rate >= STOPS, detail, say("Let examples be longer: MAX_SEQ_LENGTH=1024 ./run.sh"))
    detail = say(
        "{percent} of the answers ended by themselves; the chance of having ended by where the right answer ends is {after}, "
        "before {before}",
        percent=percent,
        after=_percent(chance_after),
        before=_percent(chance_before),
    )
    learned = chance_after >= LEARNED_ENDS
    return Check("answers_stop", stop_rate >= STOPS or learned, detail, say("Train longer: MAX_STEPS=200 ./run.sh"))


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %" if share >= 0.01 or share == 0 else f"{100 * share:.1g} %"
