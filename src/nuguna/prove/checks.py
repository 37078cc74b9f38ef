"""The proofs after training. Each is one named fact that can fail; a run with a failed one is not a
success.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from ..data.conversations.conversation import TEXT, Conversation
from ..disk.run_folder import ADAPTER
from ..errors import ModelError
from ..message import say
from ..model.load import Loaded
from ..tokens.encode import Encoded, encode_prompt
from ..tokens.parts import Parts
from ..tokens.tokenizer_protocol import Tokenizer
from .check import Check

# Largest difference of logits between the model in memory and the reloaded folder. Both compute the same sums
# in the same order, so that it is 0 in float32 as in bfloat16 (measured on a CPU); more than this is another
# adapter.
RELOAD_TOLERANCE = 1e-3
NUM_QUESTIONS = 16  # measured questions whose prompts are compared
_FAULT = say("This is a bug in the program: please report it with the log file.")


@dataclass(frozen=True, kw_only=True)
class Opened:
    """What the saved folder is when plain transformers and peft open it anew.

    Where it cannot be opened, `failed` says why, and logits and scales are those from before: only what can
    be known is judged.
    """

    failed: ModelError | None = None
    loaded: Loaded  # with the saved tokenizer
    logits: Sequence[torch.Tensor]  # of the probes, for each (vocabulary,)
    logits_without_adapter: Sequence[torch.Tensor]
    scales: Mapping[str, Any]  # of its layers with an adapter


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """All that was seen of a run, before the training and after it, for the checks to hold one against the
    other.
    """

    folder: Path
    fingerprints: tuple[str, str]  # of the base's weights, before and after
    losses: tuple[float, float]  # on held-out answers, before and after
    stop_chances: tuple[float | None, float | None]  # before and after
    stop_rate: float
    base_logits: Sequence[torch.Tensor]  # of the probes, for each (vocabulary,)
    tuned_logits: Sequence[torch.Tensor]
    tensors: Mapping[str, torch.Tensor]  # the trained adapter by the names of its file
    scales: Mapping[str, Any]
    working: Collection[str]  # layers that are called
    tokenizer: Tokenizer  # with which was trained
    pairs: Sequence[tuple[Conversation, Encoded]]  # measured questions that the window shows whole
    opened: Opened
    num_steps: int
    num_skipped_steps: int
    max_steps: int


def checks_after_training(seen: Evidence) -> tuple[Check, ...]:
    """Return every check of a finished run, in the order of their table."""
    opened = seen.opened
    return (
        check_adapter_file(seen.folder, seen.working),
        check_base_unchanged(*seen.fingerprints),
        check_opened(seen),
        # the same prompts: other ones would change answers without any adapter
        check_changes_answers(opened.logits_without_adapter, opened.logits),
        check_loss_fell(*seen.losses),
        check_answers_stop(seen.stop_rate, *seen.stop_chances),
        check_adapter_complete(seen.folder, seen.tensors),
        check_base_answers(seen.base_logits, opened.logits_without_adapter),
        check_asks_as_trained(seen.tokenizer, opened.loaded, seen.pairs),
        check_steps(seen.num_steps, seen.num_skipped_steps, seen.max_steps),
    )


def check_adapter_file(folder: Path, working: Collection[str] = ()) -> Check:
    """The saved weights are finite, and no B matrix is zero (else it changes nothing) but of layers that are
    never called.

    `working` names the layers that are, as the model has them; the experts of a mixture may see no token in a
    short training.
    """
    tensors = load_file(folder / ADAPTER)
    zero = {
        name.partition(".lora_")[0]
        for name, tensor in tensors.items()
        if "lora_B" in name and not bool(tensor.any())
    }
    still = [name for name in sorted(zero & set(working)) if "expert" not in name]
    broken = [name for name, tensor in tensors.items() if not bool(torch.isfinite(tensor).all())]
    moved = sum(bool(torch.any(tensor != 0)) for name, tensor in tensors.items() if "lora_B" in name)
    numbers = sum(tensor.numel() for tensor in tensors.values())
    if broken:
        detail = say(
            "{count} tensors contain values that are not numbers; the first is {name}",
            count=len(broken),
            name=broken[0],
        )
    elif not moved:
        detail = say("all B matrices are zero: nothing was learned")
    elif still:
        detail = say(
            "{count} B matrices are zero: {name} has learned nothing", count=len(still), name=still[0]
        )
    else:
        detail = say(
            "{numbers} finite numbers in {tensors} tensors, {moved} B matrices changed",
            numbers=f"{numbers:,}",
            tensors=len(tensors),
            moved=moved,
        )
    fix = (
        say("Lower the learning rate: LEARNING_RATE=0.0001 ./run.sh")
        if broken
        else say("Train longer: MAX_STEPS=200 ./run.sh")
    )
    return Check("adapter_weights", not broken and moved > 0 and not still, detail, fix)


def check_adapter_complete(folder: Path, in_memory: Mapping[str, torch.Tensor]) -> Check:
    """The file holds the matrices that were trained, all of them and no other, bit for bit."""
    saved = load_file(folder / ADAPTER)
    strangers = sorted(set(saved) ^ set(in_memory))
    other = [
        name
        for name in in_memory
        if name in saved and not torch.equal(saved[name], in_memory[name].detach().cpu())
    ]
    if strangers:
        detail = say(
            "{count} matrices are missing or unexpected; the first is {name}",
            count=len(strangers),
            name=strangers[0],
        )
    elif other:
        detail = say(
            "{count} matrices differ from the trained ones; the first is {name}",
            count=len(other),
            name=other[0],
        )
    else:
        detail = say("{count} matrices, exactly as trained", count=len(saved))
    return Check(
        "adapter_complete",
        not strangers and not other,
        detail,
        say("Free up disk space, then train again: ./run.sh"),
    )


def whole_pairs(parts: Parts) -> list[tuple[Conversation, Encoded]]:
    """Return the first measured questions, but those that the window cuts."""
    pairs = zip(parts.heldout[:NUM_QUESTIONS], parts.heldout_encoded, strict=False)
    return [(conversation, encoded) for conversation, encoded in pairs if not encoded.cut]


def asks_as_trained(tokenizer: Tokenizer, conversation: Conversation, encoded: Encoded) -> bool:
    """Return whether the prompt of `ask` is, token for token, what stands before the answer that is
    trained.
    """
    prompt = encode_prompt(tokenizer, conversation.prompt, conversation.tools)
    place = len(prompt)
    if list(encoded.ids[:place]) != prompt or not encoded.loss_mask[place : place + 1].any():
        return False
    has_earlier = conversation.turns[0].role == TEXT or any(
        turn.role == "assistant" for turn in conversation.prompt
    )
    return has_earlier or not encoded.loss_mask[:place].any()


def check_asks_as_trained(
    tokenizer: Tokenizer, opened: Loaded, pairs: Sequence[tuple[Conversation, Encoded]]
) -> Check:
    """The saved tokenizer and its template, as in `opened`, turn questions into the tokens that were trained;
    and what ended these answers will end others.
    """
    marks = [
        hashlib.sha256(one.chat_template.encode()).hexdigest()[:12] for one in (tokenizer, opened.tokenizer)
    ]
    differing = [
        conversation
        for conversation, encoded in pairs
        if not asks_as_trained(opened.tokenizer, conversation, encoded) or not _ends(encoded, opened.eos_ids)
    ]
    if marks[0] != marks[1]:
        detail = say(
            "the saved chat template {b} is not the one used in training, {a}", a=marks[0], b=marks[1]
        )
    elif differing:
        detail = say(
            "{count} of {total} questions turn into different tokens", count=len(differing), total=len(pairs)
        )
    else:
        detail = say(
            "chat template {mark}, {count} questions match token for token", mark=marks[0], count=len(pairs)
        )
    return Check("asks_as_trained", marks[0] == marks[1] and not differing, detail, _FAULT)


def _ends(encoded: Encoded, eos_ids: frozenset[int]) -> bool:
    """Return whether the last trained token ends an answer."""
    return int(encoded.ids[encoded.loss_mask][-1]) in eos_ids


MAX_SKIPPED = 0.01  # share of the steps that may be skipped; a single one may always


def check_steps(num_done: int, num_skipped: int, max_steps: int) -> Check:
    """All steps were done, and of a hundred no more than one was skipped since its loss or gradients were no
    numbers.
    """
    detail = say(
        "{done} of {total} steps, {skipped} skipped", done=num_done, total=max_steps, skipped=num_skipped
    )
    passed = num_done == max_steps and num_skipped <= max(1, MAX_SKIPPED * max_steps)
    return Check("steps_taken", passed, detail, say("Lower the learning rate: LEARNING_RATE=0.0001 ./run.sh"))


def check_base_answers(base: Sequence[torch.Tensor], without: Sequence[torch.Tensor]) -> Check:
    """With the adapter switched off, the opened result computes what the base model computed: `--base`
    compares with the base.
    """
    difference = _largest_difference(base, without)
    detail = say("logits differ from the base model by up to {difference}", difference=f"{difference:.2g}")
    return Check("base_without_adapter", difference <= RELOAD_TOLERANCE, detail, _FAULT)


def check_base_unchanged(before: str, after: str) -> Check:
    """Fingerprints of the base weights before and after training are equal."""
    same = before == after
    detail = (
        say("fingerprint {mark} before and after", mark=before[:12])
        if same
        else say("the fingerprint changed from {a} to {b}", a=before[:12], b=after[:12])
    )
    return Check("base_unchanged", same, detail, _FAULT)


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


def check_opened(seen: Evidence) -> Check:
    """The saved folder can be opened, and computes what the trained model computed."""
    opened = seen.opened
    if opened.failed is not None:
        return Check("reloads_the_same", False, opened.failed.seen or opened.failed.what, opened.failed.fix)
    return check_reload(seen.tuned_logits, opened.logits, (seen.scales, opened.scales))


def check_reload(
    in_memory: Sequence[torch.Tensor],
    reloaded: Sequence[torch.Tensor],
    scales: tuple[Mapping[str, Any], Mapping[str, Any]] = ({}, {}),
) -> Check:
    """The saved folder, opened by plain transformers and peft, computes what the trained model computed.

    `scales` are those of all layers, trained and reloaded.
    """
    difference = _largest_difference(in_memory, reloaded)
    if scales[0] != scales[1]:
        detail = say("the scale of the adapter is not the one used in training")
        return Check("reloads_the_same", False, detail, say("Train it again: ./run.sh"))
    detail = say(
        "largest difference in logits {difference}, allowed {tolerance}",
        difference=f"{difference:.1e}",
        tolerance=f"{RELOAD_TOLERANCE:.0e}",
    )
    return Check(
        "reloads_the_same",
        difference <= RELOAD_TOLERANCE,
        detail,
        say("Free up disk space and memory, then train again: ./run.sh"),
    )


def check_changes_answers(base: Sequence[torch.Tensor], tuned: Sequence[torch.Tensor]) -> Check:
    """With the adapter the model computes something else than without."""
    difference = _largest_difference(base, tuned)
    detail = say("logits differ from the base model by up to {difference}", difference=f"{difference:.2f}")
    return Check(
        "changes_the_model",
        difference > RELOAD_TOLERANCE,
        detail,
        say("Train longer: MAX_STEPS=200 ./run.sh"),
    )


def _largest_difference(a: Sequence[torch.Tensor], b: Sequence[torch.Tensor]) -> float:
    worst = max(float((x - y).abs().max()) for x, y in zip(a, b, strict=True))
    return worst if math.isfinite(worst) else math.inf


def check_loss_fell(before: float, after: float) -> Check:
    """Held-out loss is lower than before."""
    detail = say("held-out loss {before} before, {after} after", before=f"{before:.3f}", after=f"{after:.3f}")
    fix = say("Train longer or with a lower learning rate: MAX_STEPS=200 LEARNING_RATE=0.0001 ./run.sh")
    return Check("heldout_loss_fell", math.isfinite(after) and after < before, detail, fix)


STOPS = 0.9  # share of answers that must end by themselves
# Chance of having ended by where the right answer ends. A model that knows only how often answers end, not
# where, gets 0.5 when lengths vary as chance has it (E[1 - exp(-L / mean L)] for exponential L); half of that
# is asked for. Where the end token is not trained it goes to 0: every other token that is trained pushes it
# down.
LEARNED_ENDS = 0.25


def check_answers_stop(stop_rate: float, chance_before: float | None, chance_after: float | None) -> Check:
    """Answers end by themselves, or, where right answers are long, the model has learned when to end.

    `stop_rate` is the share of generated answers that stopped. `chance_before` and `chance_after` are
    `evaluate.stop_probability`; None when all held-out answers are cut by the window, so that no end was ever
    seen.
    """
    percent = _percent(stop_rate)
    if chance_before is None or chance_after is None:
        detail = say(
            "every held-out answer is longer than the window, so the model never sees where one ends"
        )
        return Check(
            "answers_stop",
            stop_rate >= STOPS,
            detail,
            say("Allow longer examples: MAX_SEQ_LENGTH=1024 ./run.sh"),
        )
    detail = say(
        "{percent} of the answers ended on their own; the chance of ending no later than the right answer "
        "does is {after}, {before} before training",
        percent=percent,
        after=_percent(chance_after),
        before=_percent(chance_before),
    )
    learned = chance_after >= LEARNED_ENDS
    return Check(
        "answers_stop", stop_rate >= STOPS or learned, detail, say("Train longer: MAX_STEPS=200 ./run.sh")
    )


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %" if share >= 0.01 or share == 0 else f"{100 * share:.1g} %"
