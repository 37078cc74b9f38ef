"""Known silent bugs of fine-tuning, put into the real code one at a time, and the check of the program that
must catch each.

The table in docs/ is made of this list: `python tests/prove/silent_mutations.py` prints it.
"""

from __future__ import annotations

import json
import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pytest import MonkeyPatch
from safetensors.torch import load_file, save_file

import nuguna.engine.attention as attention
import nuguna.engine.forward as forward
import nuguna.engine.loss as loss_module
import nuguna.measure.evaluate as evaluate
import nuguna.model.adapter as adapter_module
import nuguna.model.engine as engine_module
import nuguna.model.load as model_module
import nuguna.model.losses as losses
import nuguna.model.method as method_module
import nuguna.prove.before_training as before_training
import nuguna.stages.divide as divide_stage
import nuguna.stages.measure as measure_stage
import nuguna.stages.preflight as preflight
import nuguna.stages.prove as proof
import nuguna.stages.train as train_stage
import nuguna.tokens.batch as batch_module
import nuguna.tokens.cache as cache
import nuguna.tokens.choose as choose
import nuguna.tokens.encode as encode
import nuguna.tokens.laid_out as laid_out
import nuguna.tokens.step_batches as step_batches
import nuguna.train.loop as training
from nuguna.base_models.checked import CheckedTokenizer
from nuguna.engine.blockwise import attend_in_blocks
from nuguna.engine.linear import LoraLinear
from nuguna.engine.step import Outcome, Stepper
from nuguna.tokens.tokenizer import load_tokenizer
from nuguna.train.objectives import SFT

Patch = MonkeyPatch
BEFORE, DURING, AFTER = "before training", "in training", "after training"


@dataclass(frozen=True)
class Mutation:
    """One bug. `code` changes the program before anything is loaded; `late` when model and data are ready for
    training.
    """

    id: str
    breaks: str
    caught_by: str  # name of a check, or of the error where the program refuses
    when: str
    code: Callable[[Patch], None] | None = None
    late: Callable[[Patch, Any], Any] | None = None  # may return another Loaded
    trains: bool = False  # whether it shows in the training itself, not only in what is saved and opened
    architecture: str = "llama"


def wrap_mark(change: Callable[[encode.Encoded], encode.Encoded]) -> Callable[[Patch], None]:
    """Change every example as it is encoded."""
    real = encode._mark
    return lambda patch: patch.setattr(encode, "_mark", lambda *args: change(real(*args)))


def last_token(example: encode.Encoded) -> int:
    return max(i for i, is_trained in enumerate(example.loss_mask) if is_trained)


def without_end(example: encode.Encoded) -> encode.Encoded:
    end = last_token(example)
    return replace(example, ids=example.ids[:end], loss_mask=example.loss_mask[:end])


def end_untrained(example: encode.Encoded) -> encode.Encoded:
    end = last_token(example)
    return replace(example, loss_mask=example.loss_mask & (np.arange(len(example.ids)) != end))


def all_trained(example: encode.Encoded) -> encode.Encoded:
    """From the second token to the end of the answer."""
    end = last_token(example)
    places = np.arange(len(example.ids))
    return replace(example, loss_mask=example.loss_mask | ((places > 0) & (places <= end)))


def kept(change: Callable[[encode.Encoded], encode.Encoded]) -> Callable[[Patch], None]:
    """Examples that were kept by a program that encoded otherwise."""
    real = cache.choose_or_recall

    def recall(*args: Any) -> cache.Chosen:
        chosen = real(*args)
        return replace(chosen, train=[change(e) for e in chosen.train])

    return lambda patch: patch.setattr(divide_stage, "choose_or_recall", recall)


def begins_twice(patch: Patch) -> None:
    """The template writes the begin token, and the tokenizer adds it again."""
    load, ids = load_tokenizer, laid_out.token_ids

    def loaded(files: CheckedTokenizer) -> Any:
        tokenizer = load(files)
        tokenizer.bos_token = next(t for t in tokenizer.all_special_tokens if t != tokenizer.eos_token)
        tokenizer.chat_template = "{{ bos_token }}" + tokenizer.chat_template
        return tokenizer

    def with_begin(tokenizer: Any, texts: list[str]) -> list[list[int]]:
        begin = tokenizer.bos_token
        found = ids(tokenizer, texts)
        return [
            [tokenizer.bos_token_id, *part] if begin and text.startswith(begin) else part
            for text, part in zip(texts, found, strict=True)
        ]

    patch.setattr(model_module, "load_tokenizer", loaded)
    for place in (encode, laid_out):
        patch.setattr(place, "token_ids", with_begin)


def shifted(by: int) -> Callable[[Patch, Any], None]:
    """Labels one place off: the logits that are read are those of another token."""

    def moved(batch: Any) -> Any:
        return replace(batch, trained=(batch.trained - by).clamp(1, len(batch.ids) - 1))

    def inject(patch: Patch, tuned: Any) -> None:
        for name in ("target_hidden", "target_logits"):
            real = getattr(forward, name)

            def off(model: Any, batch: Any, shortcuts: Any, real: Any = real) -> Any:
                found, _ = real(model, moved(batch), shortcuts)
                return found, batch.ids[batch.trained]

            for place in (forward, loss_module, evaluate):
                if hasattr(place, name):
                    patch.setattr(place, name, off)

    return inject


def masked_in_batch(patch: Patch, tuned: Any) -> None:
    ends = torch.tensor(sorted(tuned.eos_ids))
    real = batch_module.collate

    def collate(*args: Any, **kwargs: Any) -> Any:
        made = real(*args, **kwargs)
        return replace(made, trained=made.trained[~torch.isin(made.ids[made.trained], ends)])

    patch.setattr(batch_module, "collate", collate)


def freeze(every: int) -> Callable[[Patch, Any], None]:
    def inject(patch: Patch, tuned: Any) -> None:
        for number, parameter in enumerate([p for p in tuned.model.parameters() if p.requires_grad]):
            parameter.requires_grad_(number % every != 0)

    return inject


def attach_twice(patch: Patch, tuned: Any) -> None:
    tuned.model.add_adapter("again", tuned.model.peft_config["default"])
    tuned.model.base_model.set_adapter(["default", "again"])


def each_parameter(change: Callable[[str, torch.nn.Parameter], None]) -> Callable[[Patch, Any], None]:
    def inject(patch: Patch, tuned: Any) -> None:
        for name, parameter in tuned.model.named_parameters():
            change(name, parameter)

    return inject


def half_precision(name: str, parameter: torch.nn.Parameter) -> None:
    if "lora_" in name:
        parameter.data = parameter.data.bfloat16()


def base_trains(name: str, parameter: torch.nn.Parameter) -> None:
    if "embed_tokens" in name:
        parameter.requires_grad_(True)


def not_fresh(name: str, parameter: torch.nn.Parameter) -> None:
    if "lora_B" in name:
        torch.nn.init.normal_(parameter.data, std=0.1)


def other_scale(patch: Patch, tuned: Any) -> None:
    for layer in adapter_module.lora_layers(tuned.model).values():
        layer.scaling["default"] *= 2


def no_scale(patch: Patch, tuned: Any) -> None:
    real = LoraLinear.find_matrices

    def find_matrices(layer: Any) -> Any:
        found = real(layer)
        return found and found._replace(scale=1.0)

    patch.setattr(LoraLinear, "find_matrices", find_matrices)


def adapter_dropout(patch: Patch, tuned: Any) -> None:
    for layer in adapter_module.lora_layers(tuned.model).values():
        layer.lora_dropout["default"] = torch.nn.Dropout(0.1)


def no_rate(patch: Patch, tuned: Any) -> None:
    for place in (training, before_training):
        patch.setattr(place, "learning_rate_at", lambda step, recipe: 0.0)


def foreign_optimizer(patch: Patch, tuned: Any) -> None:
    """The optimizer holds copies, made before the model went to its device."""
    real = torch.optim.AdamW.__init__

    def begin(optimizer: Any, parameters: Any, **given: Any) -> None:
        real(optimizer, [torch.nn.Parameter(p.detach().clone()) for p in parameters], **given)

    patch.setattr(torch.optim.AdamW, "__init__", begin)


def clip_to_zero(patch: Patch, tuned: Any) -> None:
    real = train_stage.recipe_of
    for place in (train_stage, preflight):
        patch.setattr(place, "recipe_of", lambda plan: replace(real(plan), max_grad_norm=0.0))


def told_finite(value: float) -> Callable[[Patch, Any], None]:
    """Return the optimizer is told that every step is broken (1), or that none is (0)."""

    def inject(patch: Patch, tuned: Any) -> None:
        real = torch.optim.AdamW.step

        def step(optimizer: Any) -> Any:
            optimizer.found_inf = torch.full((), value)
            return real(optimizer)

        patch.setattr(torch.optim.AdamW, "step", step)

    return inject


def objective_of_step(change: Callable[[Stepper, Sequence[Any], Any, Any], Any]) -> Callable[[Patch, Any], None]:
    """Let each loss of a step be another one: `change` is given the step's micro-batches, the one in hand and
    its loss.
    """

    def inject(patch: Patch, tuned: Any) -> None:
        real = Stepper.step

        def step(stepper: Stepper, batches: Sequence[Any], *given: Any) -> Any:
            before = stepper.objective

            def loss_sum(model: Any, batch: Any, *rest: Any) -> Any:
                return change(stepper, batches, batch, lambda: before.loss_sum(model, batch, *rest))

            stepper.objective = replace(before, loss_sum=loss_sum)
            try:
                return real(stepper, batches, *given)
            finally:
                stepper.objective = before

        patch.setattr(Stepper, "step", step)

    return inject


def num_trained(batches: Sequence[Any]) -> int:
    return sum(len(batch.trained) for batch in batches)


def forget_before(stepper: Stepper, batches: Sequence[Any], batch: Any, loss: Callable[[], Any]) -> Any:
    stepper.forget_gradients()
    return loss()


def leak(patch: Patch, tuned: Any) -> None:
    real = attend_in_blocks

    def all_as_one(q: Any, k: Any, v: Any, lengths: Any, prefix: int, rules: Any) -> Any:
        return real(q, k, v, (sum(lengths) + prefix,), 0, rules)

    patch.setattr(attention, "attend_in_blocks", all_as_one)


def positions_go_on(patch: Patch, tuned: Any) -> None:
    real = forward._run

    def run(part: Any, batch: Any, packed: bool, wanted: Any = None) -> Any:
        return real(part, replace(batch, positions=torch.arange(len(batch.ids))) if packed else batch, packed, wanted)

    patch.setattr(forward, "_run", run)


def padding_seen(patch: Patch, tuned: Any) -> None:
    """Padded on the left, without a mask."""
    real = forward._run

    def run(part: Any, batch: Any, packed: bool, wanted: Any = None) -> Any:
        def blind(input_ids: Any, attention_mask: Any, **given: Any) -> Any:
            width = input_ids.shape[1]
            # where each row's tokens stand once they are pushed to the right: (documents, longest)
            places = torch.arange(width)[None] - (width - attention_mask.sum(1, keepdim=True))
            places = places.remainder(width)
            out = part(input_ids=input_ids.gather(1, places), attention_mask=torch.ones_like(input_ids), **given)[0]
            back = places.argsort(1)
            return (out.gather(1, back[:, :, None].expand_as(out)),)

        return real(part if packed else blind, batch, packed, wanted)

    patch.setattr(forward, "_run", run)


def only_padded(patch: Patch) -> None:
    real = forward.find_shortcuts
    patch.setattr(engine_module, "find_shortcuts", lambda model: replace(real(model), packed=False))


def measured_otherwise(patch: Patch, tuned: Any) -> None:
    real = loss_module.document_losses
    patch.setattr(losses, "document_losses", lambda *args: 0.9 * real(*args))


def fewer_indices(patch: Patch, tuned: Any) -> None:
    real = batch_module.step_indices
    for place in (step_batches, before_training):
        patch.setattr(place, "step_indices", lambda n, size, seed, step: real(n, size, seed, step)[: max(1, size // 2)])


def from_the_start(patch: Patch, tuned: Any) -> None:
    real = batch_module.step_indices
    for place in (step_batches, before_training):
        patch.setattr(place, "step_indices", lambda n, size, seed, step: real(n, size, seed, step % 2))


def ordered_by(shuffle: Callable[[list[int]], None]) -> Callable[[Patch, Any], None]:
    @lru_cache(maxsize=4)
    def epoch_order(num_examples: int, seed: int, epoch: int) -> tuple[int, ...]:
        order = list(range(num_examples))
        shuffle(order)
        return tuple(order)

    def inject(patch: Patch, tuned: Any) -> None:
        for place in (batch_module, before_training):
            patch.setattr(place, "epoch_order", epoch_order)

    return inject


def one_is_lost(patch: Patch, tuned: Any) -> None:
    real = batch_module.micro_batches
    patch.setattr(step_batches, "micro_batches", lambda examples, *args, **kwargs: real(examples[1:], *args, **kwargs))


def other_template(patch: Patch, tuned: Any) -> None:
    tuned.tokenizer.chat_template = "{{ 'Be brief.' }}" + tuned.tokenizer.chat_template


def no_generation_prompt(patch: Patch, tuned: Any) -> None:
    real = laid_out.lay_out

    def lay_out(tokenizer: Any, turns: Any, tools: str, *, for_answer: bool) -> Any:
        if for_answer:
            return [(laid_out.render(tokenizer, turns, for_answer=False), False)]
        return real(tokenizer, turns, tools, for_answer=False)

    patch.setattr(encode, "lay_out", lay_out)


def rendered_otherwise(patch: Patch) -> None:
    real = laid_out.render
    patch.setattr(laid_out, "render", lambda *args, **kwargs: real(*args, **kwargs).replace("\n", " "))


def other_tokenizer(patch: Patch, tuned: Any) -> Any:
    """Return one with the same template, and tokens of its own."""
    return replace(tuned, tokenizer=tuned.tokenizer.train_new_from_iterator(["what is the color of a pill"] * 3, 400))


def larger_tokenizer(patch: Patch) -> None:
    load = load_tokenizer

    def loaded(files: CheckedTokenizer) -> Any:
        tokenizer: Any = load(files)
        tokenizer.add_tokens([f"word{i}" for i in range(7300 - len(tokenizer))])
        return tokenizer

    patch.setattr(model_module, "load_tokenizer", loaded)


def measured_is_trained(patch: Patch) -> None:
    real = choose._set_apart
    patch.setattr(choose, "_set_apart", lambda encoding, dataset, wanted, order, begins: (
        real(encoding, dataset, wanted, order, begins)[0], order))  # fmt: skip
    patch.setattr(choose._Measured, "asks", lambda measured, conversation: False)


# --- after training


def saved(change: Callable[[Path, dict[str, torch.Tensor]], dict[str, torch.Tensor]]) -> Callable[[Patch, Any], None]:
    """Save other matrices than those that were trained."""
    real = adapter_module.save_adapter

    def save(model: Any, tokenizer: Any, folder: Path) -> None:
        real(model, tokenizer, folder)
        file = folder / "adapter_model.safetensors"
        save_file({name: tensor.contiguous() for name, tensor in change(folder, load_file(file)).items()}, file)

    return lambda patch, tuned: patch.setattr(method_module, "save_adapter", save)


def scale_lost(folder: Path, tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    file = folder / "adapter_config.json"
    config = json.loads(file.read_text("utf-8"))
    file.write_text(json.dumps({**config, "lora_alpha": config["r"]}), "utf-8")
    return tensors


def template_lost(folder: Path, tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    (folder / "chat_template.jinja").unlink()
    return tensors


def fresh_again(folder: Path, tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: torch.zeros_like(t) if "lora_B" in name else t for name, t in tensors.items()}


def trained_with(change: Callable[[Any], None], **recipe: Any) -> Callable[[Patch, Any], None]:
    """Train otherwise than was tried before."""

    def inject(patch: Patch, tuned: Any) -> None:
        def train(tuned: Any, batches: Any, objective: Any, given: Any, *rest: Any) -> Any:
            change(tuned.model)
            return training.train(tuned, batches, objective, replace(given, **recipe), *rest)

        patch.setattr(train_stage, "train", train)

    return inject


def nudge_base(model: Any) -> None:
    with torch.no_grad():
        next(p for n, p in model.named_parameters() if "embed_tokens" in n)[0, 0] += 1e-3


def freeze_first_block(model: Any) -> None:
    for name, parameter in model.named_parameters():
        if ".layers.0." in name:
            parameter.requires_grad_(False)


def broken_steps(patch: Patch, tuned: Any) -> None:
    real, count = SFT, [0]

    def loss_sum(*args: Any) -> torch.Tensor:
        count[0] += 1
        return real.loss_sum(*args) * (math.nan if count[0] in (2, 4) else 1.0)

    patch.setattr(train_stage, "SFT", replace(real, loss_sum=loss_sum))


def measured_without(patch: Patch, tuned: Any) -> None:
    """What should be measured with the adapter is measured without."""
    real = evaluate.measure

    def measure(loaded: Any, *args: Any, **given: Any) -> Any:
        with loaded.model.disable_adapter():
            return real(loaded, *args, **given)

    patch.setattr(measure_stage, "measure", measure)


def merged_on_load(patch: Patch, tuned: Any) -> None:
    real = adapter_module.reload_adapter

    @torch.no_grad()
    def reload_adapter(base: Any, adapter: Any) -> Any:
        model = real(base, adapter)
        for layer in adapter_module.lora_layers(model).values():
            layer.base_layer.weight += layer.get_delta_weight("default")
            layer.lora_B["default"].weight.zero_()
        return model

    patch.setattr(proof, "reload_adapter", reload_adapter)


def other_ends(patch: Patch, tuned: Any) -> None:
    real = model_module.load_base
    patch.setattr(proof, "load_base", lambda *args, **given: replace(real(*args, **given), eos_ids=frozenset({0})))


MUTATIONS = [
    Mutation("pad_is_eos", "the end token is masked since it pads, too", "rows_end", BEFORE, wrap_mark(end_untrained)),
    Mutation("pad_is_eos_in_batch", "the same, where batches are made", "own_loss", BEFORE, late=masked_in_batch),
    Mutation("double_bos", "template and tokenizer both write the begin token", "rows_begin", BEFORE, begins_twice),
    Mutation(
        "all_masked", "no token of any example is trained", "DataError", BEFORE,
        wrap_mark(lambda e: replace(e, loss_mask=np.zeros_like(e.loss_mask))),
    ),
    Mutation("labels_not_shifted", "each token learns to predict itself", "own_loss", BEFORE, late=shifted(-1)),
    Mutation("labels_shifted_twice", "each token learns to predict the one after the next", "own_loss", BEFORE, late=shifted(1)),
    Mutation(
        "prompt_trained", "questions are trained like answers", "prompts_as_asked", BEFORE,
        wrap_mark(all_trained),
    ),
    Mutation("stale_examples", "kept examples of an older program train the questions, too", "answers_after_prompts", BEFORE,
             kept(all_trained)),
    Mutation("foreign_examples", "kept examples hold tokens that the model has not", "rows_trained", BEFORE,
             kept(lambda e: replace(e, ids=e.ids + 7200))),
    Mutation("empty_examples", "kept examples train nothing", "rows_trained", BEFORE,
             kept(lambda e: replace(e, loss_mask=np.zeros_like(e.loss_mask)))),
    Mutation("end_missing", "answers are trained without their end token", "rows_end", BEFORE, wrap_mark(without_end)),
    Mutation(
        "answer_cut", "the window cuts the ends of answers", "rows_end", BEFORE,
        wrap_mark(lambda e: replace(e, ids=e.ids[: last_token(e) - 2], loss_mask=e.loss_mask[: last_token(e) - 2])),
    ),
    Mutation("stops_unknown", "generation knows other end tokens than training", "rows_end", BEFORE,
             late=lambda patch, tuned: replace(tuned, eos_ids=frozenset({0}))),
    Mutation("adapter_frozen", "requires_grad is off for the adapter", "adapter_whole", BEFORE, late=freeze(1)),
    Mutation("half_frozen", "half of the adapter's matrices are frozen", "adapter_whole", BEFORE, late=freeze(2)),
    Mutation("few_modules", "the adapter lies on the queries alone", "adapter_whole", BEFORE,
             lambda patch: patch.setattr(adapter_module, "_shortest", lambda names: ["q_proj"])),
    Mutation("attached_twice", "a second adapter lies on the first", "adapter_whole", BEFORE, late=attach_twice),
    Mutation("coarse_adapter", "the adapter is kept in bfloat16: small steps vanish", "adapter_whole", BEFORE,
             late=each_parameter(half_precision)),
    Mutation("base_trained", "weights of the base are trained along", "adapter_whole", BEFORE, late=each_parameter(base_trains)),
    Mutation("other_scale", "the adapter is scaled otherwise than planned", "adapter_whole", BEFORE, late=other_scale),
    Mutation("not_fresh", "the new adapter already changes the model", "adapter_fresh", BEFORE, late=each_parameter(not_fresh)),
    Mutation("scale_in_training", "the training step leaves out the adapter's scale", "own_loss", BEFORE, late=no_scale),
    Mutation("learning_rate_zero", "the learning rate is zero at every step", "learning_rate", BEFORE, late=no_rate),
    Mutation("foreign_optimizer", "the optimizer moves copies of the weights", "step_moves", BEFORE, late=foreign_optimizer),
    Mutation("optimizer_idle", "the optimizer is told that every step is broken", "step_moves", BEFORE,
             late=told_finite(1.0)),
    Mutation("clipped_to_zero", "gradients are clipped to nothing", "step_moves", BEFORE, late=clip_to_zero),
    Mutation("mean_of_means", "gradient accumulation normalises each micro-batch by itself", "own_loss", BEFORE,
             late=objective_of_step(lambda _, all_of_them, batch, loss:
                                    loss() * num_trained(all_of_them) / (len(batch.trained) * len(all_of_them)))),
    Mutation("sum_for_mean", "gradients are those of a sum, not of a mean", "own_loss", BEFORE,
             late=objective_of_step(lambda _, all_of_them, batch, loss: loss() * num_trained(all_of_them))),
    Mutation("last_micro_batch", "gradients of all micro-batches but the last are lost", "own_loss", BEFORE,
             late=objective_of_step(forget_before)),
    Mutation("attention_leaks", "packed examples see each other", "together_as_alone", BEFORE, late=leak),
    Mutation("positions_go_on", "positions do not begin anew in a packed row", "together_as_alone", BEFORE,
             late=positions_go_on, architecture="gpt2"),
    Mutation("padding_seen", "padding is attended to", "together_as_alone", BEFORE, only_padded, padding_seen),
    Mutation("nan_hidden", "a loss that is no number is told as one", "bad_step_skipped", BEFORE,
             late=lambda patch, tuned: patch.setattr(Outcome, "read", lambda outcome: 1.0)),
    Mutation("nan_applied", "a step that is no number is taken", "bad_step_skipped", BEFORE,
             late=told_finite(0.0)),
    Mutation("adapter_dropout", "the adapter drops out at random while it trains", "own_loss", BEFORE, late=adapter_dropout),
    Mutation("base_dropout", "the base drops out at random while the adapter trains", "own_loss", BEFORE,
             lambda patch: patch.setattr(model_module, "_without_dropout", lambda config: None), architecture="gpt2"),
    Mutation("measured_otherwise", "measuring leaves out a part of each answer", "measured_as_trained", BEFORE,
             late=measured_otherwise),
    Mutation("batch_halved", "a step has half of its examples", "order", BEFORE, late=fewer_indices),
    Mutation("same_examples_again", "after going on, the same examples come again", "order", BEFORE, late=from_the_start),
    Mutation("order_by_chance", "the order depends on more than seed and epoch: a continued run has another", "order", BEFORE,
             late=ordered_by(random.shuffle)),
    Mutation("never_shuffled", "examples come in the same order in every epoch", "order", BEFORE,
             late=ordered_by(lambda order: None)),
    Mutation("example_lost", "an example is lost between the step and its micro-batches", "whole_batch", DURING,
             late=one_is_lost, trains=True),
    Mutation("other_template", "ask has another chat template than training", "prompts_as_asked", BEFORE, late=other_template),
    Mutation("no_generation_prompt", "ask leaves out what stands before an answer", "prompts_as_asked", BEFORE,
             late=no_generation_prompt),
    Mutation("rendered_otherwise", "training and ask render a template otherwise than other programs do", "prompts_as_published",
             BEFORE, rendered_otherwise),
    Mutation("other_tokenizer", "the tokenizer is another model's", "prompts_as_asked", BEFORE, late=other_tokenizer),
    Mutation("larger_tokenizer", "the tokenizer has tokens without embeddings", "ModelError", BEFORE, larger_tokenizer),
    Mutation("measured_is_trained", "questions that are measured are trained, too", "RuntimeError", BEFORE, measured_is_trained),
    Mutation("saved_fresh", "the saved adapter is the fresh one", "adapter_complete", AFTER, late=saved(fresh_again)),
    Mutation("saved_coarse", "the adapter is rounded when it is saved", "adapter_complete", AFTER,
             late=saved(lambda _, t: {name: tensor.bfloat16() for name, tensor in t.items()})),
    Mutation("keys_renamed", "matrices are saved under other names", "reloads_the_same", AFTER,
             late=saved(lambda _, t: {name.replace("model.layers", "layers"): tensor for name, tensor in t.items()})),
    Mutation("keys_lost", "half of the matrices are not saved", "reloads_the_same", AFTER,
             late=saved(lambda _, t: {name: tensor for name, tensor in t.items() if ".layers.0." in name})),
    Mutation("scale_lost", "the scale is dropped when the adapter is saved", "reloads_the_same", AFTER, late=saved(scale_lost)),
    Mutation("template_lost", "the chat template is not saved", "asks_as_trained", AFTER, late=saved(template_lost)),
    Mutation("ends_lost", "the opened result does not know where answers end", "asks_as_trained", AFTER, late=other_ends),
    Mutation("merged_on_load", "--base answers with the adapter, too", "base_without_adapter", AFTER, late=merged_on_load),
    Mutation("base_moved", "training changes the base", "base_unchanged", AFTER, late=trained_with(nudge_base), trains=True),
    Mutation("block_frozen", "one block learns nothing in the course of training", "adapter_weights", AFTER,
             late=trained_with(freeze_first_block), trains=True),
    Mutation("steps_missing", "training ends before its time", "steps_taken", AFTER,
             late=trained_with(lambda model: None, max_steps=4), trains=True),
    Mutation("steps_skipped", "many steps are skipped since they are no numbers", "steps_taken", AFTER,
             late=broken_steps, trains=True),
    Mutation("measured_without", "what is told of the trained model was measured without its adapter", "heldout_loss_fell", AFTER,
             late=measured_without, trains=True),
]  # fmt: skip


def table() -> str:
    """Return the list as a table in Markdown."""
    lines = ["| mutation | what it breaks | caught by | when |", "|---|---|---|---|"]
    return "\n".join([*lines, *(f"| `{m.id}` | {m.breaks} | `{m.caught_by}` | {m.when} |" for m in MUTATIONS)]) + "\n"


if __name__ == "__main__":
    print(table(), end="")
