"""The trainers that benchmarks/engine.py compares, all with the same weights, data, order, batch, LoRA and
learning rates.

Nothing here is tuned against a peer: each runs as its users would run it, and only what must be equal is set.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

WARM_UP_STEPS = 2
LORA_R, LORA_ALPHA, RATE, SEED = 16, 16, 2e-4, 42


class Clock:
    """When each step ended, its loss, and how much memory came on top of the loaded model."""

    def __init__(self) -> None:
        import psutil
        import torch

        self.is_gpu = torch.cuda.is_available()
        self.loaded_bytes = (
            torch.cuda.memory_allocated() if self.is_gpu else int(psutil.Process().memory_info().rss)
        )
        self.most_bytes, self._done = 0, threading.Event()
        if self.is_gpu:
            torch.cuda.reset_peak_memory_stats()
        else:
            threading.Thread(target=self._watch, daemon=True).start()
        self.began = time.perf_counter()
        self.ends: list[float] = []
        self.losses: list[float] = []

    def _watch(self) -> None:
        """The largest resident memory from now on; the system's own peak would count what loading took for a
        moment.
        """
        import psutil

        process = psutil.Process()
        while not self._done.wait(0.02):
            self.most_bytes = max(self.most_bytes, int(process.memory_info().rss))

    def step(self, loss: float | None) -> None:
        """A step has ended."""
        self.ends.append(time.perf_counter() - self.began)
        self.losses.append(math.nan if loss is None else loss)

    def result(self) -> dict[str, Any]:
        """Return all that was seen, as JSON."""
        import torch

        self._done.set()
        peak = torch.cuda.max_memory_allocated() if self.is_gpu else self.most_bytes
        return {
            "ends": self.ends,
            "losses": self.losses,
            "peak_bytes": peak,
            "loaded_bytes": self.loaded_bytes,
        }


def load(task: dict[str, Any]) -> Any:
    """Return the base model in the dtype of the task, on the GPU where there is one."""
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(
        task["model"], dtype=getattr(torch, task["dtype"]), attn_implementation="sdpa"
    )
    return model.to("cuda") if torch.cuda.is_available() else model


def recipe(task: dict[str, Any]) -> Any:
    """Return the settings that all sides share."""
    from nuguna.train.loop import Recipe

    return Recipe(
        max_steps=task["steps"],
        batch_size=task["batch_size"],
        micro_batch_size=task["micro_batch_size"],
        learning_rate=RATE,
        warmup_steps=WARM_UP_STEPS,
        weight_decay=0.0,
        max_grad_norm=1.0,
        seed=SEED,
        checkpoint_every=task["steps"],
    )


def run_ours(task: dict[str, Any]) -> dict[str, Any]:
    """Our loop and engine."""
    model = load(task)
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    return train_ours(model, task)


def train_ours(model: Any, task: dict[str, Any]) -> dict[str, Any]:
    """Our loop and engine on a loaded base model."""
    from nuguna.engine.forward import find_shortcuts
    from nuguna.model.adapter import attach_adapter
    from nuguna.model.load import Loaded
    from nuguna.tokens.encode import Encoded
    from nuguna.tokens.step_batches import StepBatches
    from nuguna.train.loop import Keep, Silent, train
    from nuguna.train.objectives import SFT

    listener = Silent()
    listener.on_step = lambda step: clock.step(step.loss)  # type: ignore[method-assign]

    model = attach_adapter(
        model, base_name="x", lora_r=LORA_R, lora_alpha=LORA_ALPHA, seed=SEED, gradient_checkpointing=False
    )
    examples = [
        Encoded(tuple(ids), tuple(i >= question for i in range(len(ids))))
        for ids, question in task["examples"]
    ]
    clock = Clock()
    device = next(model.parameters()).device
    no_tokenizer: Any = None  # the rows are tokens already
    tuned = Loaded(model, no_tokenizer, frozenset(), find_shortcuts(model))
    given = recipe(task)
    batches = StepBatches(examples, given.batch_size, given.seed, device, tuned.shortcuts.packed)
    train(tuned, batches, SFT, given, Keep(Path(task["folder"]), "benchmark"), listener)
    return clock.result()


def run_trainer(task: dict[str, Any]) -> dict[str, Any]:
    """peft + transformers.Trainer as most people use them: right padding, labels of -100."""
    import torch
    from peft import get_peft_model
    from transformers import Trainer, TrainingArguments

    model = load(task)
    torch.manual_seed(SEED)
    model = get_peft_model(model, _lora(model))

    def collate(batch: list[dict[str, Any]]) -> dict[str, Any]:
        width = max(len(row["input_ids"]) for row in batch)
        made: dict[str, list[list[int]]] = {"input_ids": [], "attention_mask": [], "labels": []}
        for row in batch:
            ids, pad = row["input_ids"], width - len(row["input_ids"])
            made["input_ids"].append(ids + [0] * pad)
            made["attention_mask"].append([1] * len(ids) + [0] * pad)
            made["labels"].append(row["labels"] + [-100] * pad)
        return {name: torch.tensor(values) for name, values in made.items()}

    clock = Clock()
    arguments = TrainingArguments(**_arguments(task))
    Trainer(
        model,
        arguments,
        data_collator=collate,
        train_dataset=_rows(task),
        optimizers=_optimizer(model, task),
        callbacks=[_watch(clock)],
    ).train()
    return clock.result()


def run_trl(task: dict[str, Any], **wishes: Any) -> dict[str, Any]:
    """TRL's SFTTrainer; `wishes` are what a user changes of its defaults."""
    import torch
    from datasets import Dataset
    from transformers import AutoTokenizer
    from trl import SFTConfig, SFTTrainer

    model = load(task)
    rows = _rows(task)
    arguments = SFTConfig(
        **{**_arguments(task), "max_length": 512, "bf16": task["dtype"] == "bfloat16", **wishes}
    )
    # it wants a tokenizer, though the rows are tokens already
    tokenizer = AutoTokenizer.from_pretrained(task["tokenizer"])
    trainable = Dataset.from_list(rows)
    torch.manual_seed(SEED)
    trainer = SFTTrainer(
        model,
        arguments,
        train_dataset=trainable,
        peft_config=_lora(model),
        processing_class=tokenizer,
        callbacks=[],
    )
    trainer.optimizer, trainer.lr_scheduler = _optimizer(trainer.model, task)
    clock = Clock()
    trainer.add_callback(_watch(clock))
    trainer.train()
    return clock.result()


def _lora(model: Any) -> Any:
    from peft import LoraConfig

    from nuguna.engine.adapter import block_linear_names

    targets = sorted({name.rsplit(".", 1)[-1] for name in block_linear_names(model)})
    return LoraConfig(
        r=LORA_R, lora_alpha=LORA_ALPHA, lora_dropout=0.0, target_modules=targets, task_type="CAUSAL_LM"
    )


def _rows(task: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the examples in the order in which our loop takes them."""
    from nuguna.tokens.batch import step_indices

    size, examples = task["batch_size"], task["examples"]
    order = [i for step in range(task["steps"]) for i in step_indices(len(examples), size, SEED, step)]
    return [
        {"input_ids": examples[i][0], "labels": [-100] * examples[i][1] + examples[i][0][examples[i][1] :]}
        for i in order
    ]


def _arguments(task: dict[str, Any]) -> dict[str, Any]:
    import torch

    return {
        "output_dir": task["folder"],
        "per_device_train_batch_size": task["micro_batch_size"],
        "gradient_accumulation_steps": task["batch_size"] // task["micro_batch_size"],
        "max_steps": task["steps"],
        "max_grad_norm": 1.0,
        "logging_steps": 1,
        "save_strategy": "no",
        "report_to": [],
        "remove_unused_columns": False,
        "train_sampling_strategy": "sequential",
        "use_cpu": not torch.cuda.is_available(),
        "disable_tqdm": True,
        "dataloader_pin_memory": False,
    }


def _optimizer(model: Any, task: dict[str, Any]) -> tuple[Any, Any]:
    import torch

    from nuguna.train.loop import learning_rate_at

    settings, steps = recipe(task), task["steps"]
    optimizer = torch.optim.AdamW(
        [p for p in model.parameters() if p.requires_grad], lr=1.0, weight_decay=0.0, fused=True
    )
    return optimizer, torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: learning_rate_at(min(step, steps - 1), settings)
    )


def _watch(clock: Clock) -> Any:
    from transformers import TrainerCallback

    class Watch(TrainerCallback):  # type: ignore[misc]
        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
            if "loss" in logs:
                clock.step(logs["loss"])

    return Watch()


SIDES: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "ours": run_ours,
    "trainer": run_trainer,
    "trl": run_trl,  # its defaults: activations computed again (gradient checkpointing), bf16
    "trl-no-checkpointing": lambda task: run_trl(task, gradient_checkpointing=False),
    "trl-packing": lambda task: run_trl(task, packing=True),
    "trl-packing-no-checkpointing": lambda task: run_trl(task, packing=True, gradient_checkpointing=False),
}


def work(task: dict[str, Any]) -> dict[str, Any]:
    """Return one side, in this process."""
    if task["side"] == "ours":
        from nuguna.machine.process import prepare

        prepare()  # as our program does; a peer has what its users have
    return SIDES[task["side"]](task)
