"""Memory that runs out in the middle: every step is done, in smaller pieces, with the same result."""

from __future__ import annotations

import gc
import json
import os
import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from nuguna.base_models.checked import check_model, check_tokenizer
from nuguna.data.conversations.conversation import Turn
from nuguna.engine import memory_watch as shortage
from nuguna.engine.adapter import adapter_parameters
from nuguna.engine.forward import find_shortcuts, target_logits
from nuguna.engine.loss import document_losses, loss_sum
from nuguna.engine.memory_watch import ShortageError, attempt, in_smaller_pieces, is_shortage
from nuguna.engine.step import Objective
from nuguna.engine.step_limits import MIN_CHUNK_BYTES, Limits
from nuguna.errors import OutOfMemoryError
from nuguna.measure import evaluate
from nuguna.model import generate, losses
from nuguna.model.adapter import attach_adapter
from nuguna.model.load import Loaded, load_base
from nuguna.tokens import step_batches
from nuguna.tokens.batch import micro_batches
from nuguna.tokens.encode import Encoded
from nuguna.tokens.tokenizer import load_tokenizer
from nuguna.train.checkpoint import find_checkpoint
from nuguna.train.loop import Recipe, Step
from nuguna.train.objectives import SFT
from tests.conftest import DEMO_MODEL
from tests.training import train_model, with_loss

MESSAGE = (
    "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes."
)


def fail(message: str = MESSAGE) -> None:
    raise RuntimeError(message)


@pytest.mark.parametrize(
    ("error", "is_one"),
    [
        (RuntimeError(MESSAGE), True),
        (RuntimeError("MPS backend out of memory (MPS allocated: 9 GB, max allowed: 9 GB)"), True),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"), True),
        (torch.OutOfMemoryError("CUDA out of memory."), True),
        (MemoryError(), True),
        (ShortageError(), True),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
        (ValueError("out of memory"), False),
    ],
)
def test_an_error_that_says_so_is_recognised_and_no_other(error: Exception, is_one: bool) -> None:
    def work() -> int:
        raise error

    assert is_shortage(error) == is_one
    if is_one:
        assert attempt(work) is None
    else:
        with pytest.raises(type(error)):
            attempt(work)


def test_less_and_less_is_tried_and_then_it_is_said() -> None:
    sizes: list[int] = []

    def work(size: int) -> int:
        if size > 3:
            raise MemoryError
        return size

    assert in_smaller_pieces(work, 50, on_less=sizes.append) == 3 and sizes == [25, 12, 6, 3]
    with pytest.raises(OutOfMemoryError, match="smallest"):
        in_smaller_pieces(work, 50, least=20, on_less=sizes.append)


def test_limits_become_less_in_order_until_nothing_is_left() -> None:
    limits = Limits(1000)
    seen = []
    while less := limits.less(300, can_checkpoint=True):
        limits = less
        seen.append((limits.most_tokens, limits.checkpointing, limits.chunk_bytes == MIN_CHUNK_BYTES))
    assert seen == [(500, 0, False), (300, 0, False), (300, 1, False), (300, 1, True)]


@pytest.fixture(autouse=True, scope="module")
def small_heap() -> Iterator[None]:
    """Yield what other tests left behind is not looked at again whenever memory is to be freed."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


RECIPE = Recipe(
    max_steps=10,
    batch_size=6,
    micro_batch_size=6,
    learning_rate=3e-3,
    warmup_steps=2,
    weight_decay=0.0,
    max_grad_norm=1.0,
    seed=1,
    checkpoint_every=1000,
)


def examples() -> list[Encoded]:
    rng = random.Random(3)
    lengths = [rng.randint(6, 30) for _ in range(40)]
    return [Encoded(tuple(rng.randrange(10, 400) for _ in range(n)), tuple(i > 3 for i in range(n))) for n in lengths]


def trained(
    place: Path,
    folder: Path,
    on_shortage: Callable[[Limits, int], None] = lambda limits, step: None,
    recipe: Recipe = RECIPE,
    objective: Objective = SFT,
    on_step: Callable[[Step], None] = lambda step: None,
) -> tuple[dict[str, Tensor], list[Step]]:
    """Return the weights of a fresh adapter after training, and the steps that were reported."""
    base = load_base(check_model(place), dtype="float32", device="cpu").model
    model = attach_adapter(base, base_name="x", lora_r=4, lora_alpha=8, seed=1, gradient_checkpointing=False)
    steps: list[Step] = []

    def hear(step: Step) -> None:
        steps.append(step)
        on_step(step)

    found = find_shortcuts(model)
    train_model(model, examples(), recipe, folder, shortcuts=found, objective=objective, on_step=hear, on_shortage=on_shortage)
    return {name: p.detach().clone() for name, p in adapter_parameters(model).items()}, steps


class Failing:
    """In the place of the loss: memory runs out at the given calls, before it or in the middle of its
    backward pass.
    """

    def __init__(self, places: dict[int, str]) -> None:
        self.places, self.calls, self.loss = places, 0, loss_sum
        self.hooks: list[Any] = []

    def __call__(self, model: Any, *args: Any) -> Tensor:
        while self.hooks:
            self.hooks.pop().remove()
        how, self.calls = self.places.get(self.calls), self.calls + 1
        if how == "forward":
            fail()
        if how == "backward":  # when part of the gradients is already there
            middle = [p for p in adapter_parameters(model).values()][6]
            self.hooks.append(middle.register_hook(lambda gradient: fail("CUDA out of memory.")))
        return self.loss(model, *args)


Undisturbed = tuple[dict[str, Tensor], list[Step]]


@pytest.fixture(scope="module")
def undisturbed(model_folder: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    """Weights and steps of a training with memory enough."""
    return trained(model_folder(), tmp_path_factory.mktemp("whole"))


def close(found: dict[str, Tensor], expected: dict[str, Tensor], most: float = 1e-5) -> bool:
    return all(float((found[name] - expected[name]).abs().max()) <= most for name in expected)


@pytest.mark.parametrize("seed", range(10))
def test_five_failures_at_random_places_change_nothing_but_the_pieces(
    seed: int, undisturbed: Undisturbed, tmp_path: Path, model_folder: Callable[..., Path]
) -> None:
    expected, told = undisturbed
    rng = random.Random(seed)
    failing = Failing({place: rng.choice(("forward", "backward")) for place in rng.sample(range(10), 5)})
    shortages: list[int] = []
    found, steps = trained(
        model_folder(), tmp_path / "short", lambda limits, step: shortages.append(step), objective=with_loss(failing)
    )
    assert len(shortages) == 5 and [step.step for step in steps] == list(range(1, 11))
    assert close(found, expected)
    assert [step.loss for step in steps] == pytest.approx([step.loss for step in told], abs=1e-5)


def test_what_memory_allows_is_remembered_when_a_run_goes_on(
    undisturbed: Undisturbed, tmp_path: Path, model_folder: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    expected, _ = undisturbed
    half = Recipe(**{**vars(RECIPE), "checkpoint_every": 6})

    def crash(step: Step) -> None:
        if step.step == 7:
            raise ZeroDivisionError

    failing = with_loss(Failing({0: "forward", 1: "backward"}))
    with pytest.raises(ZeroDivisionError):
        trained(model_folder(), tmp_path / "short", recipe=half, objective=failing, on_step=crash)
    checkpoint = find_checkpoint(tmp_path / "short", "hash")
    assert checkpoint is not None
    limits = json.loads((checkpoint / "manifest.json").read_text())["limits"]
    assert limits["most_tokens"] < 6 * 30
    seen: list[int] = []
    batches = micro_batches
    monkeypatch.setattr(
        step_batches,
        "micro_batches",
        lambda chosen, most, *rest, **more: (seen.append(most), batches(chosen, most, *rest, **more))[1],  # type: ignore[func-returns-value]
    )
    found, steps = trained(model_folder(), tmp_path / "short", recipe=half)
    assert set(seen) == {limits["most_tokens"]} and steps[0].step == 7 and close(found, expected)


def test_when_nothing_helps_the_last_step_is_kept_and_the_next_command_is_named(
    undisturbed: Undisturbed, tmp_path: Path, model_folder: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    expected, _ = undisturbed
    calls = [0]

    def from_step_four_on(*args: Any) -> Tensor:
        calls[0] += 1
        return fail() if calls[0] > 3 else loss_sum(*args)  # type: ignore[return-value, func-returns-value]

    with pytest.raises(OutOfMemoryError) as caught:
        trained(model_folder(), tmp_path / "short", objective=with_loss(from_step_four_on))
    assert "BATCH_SIZE=1 MAX_STEPS=50" in str(caught.value.fix) and "OUTPUT_DIR=./quick_test" in str(caught.value.fix)
    found, steps = trained(model_folder(), tmp_path / "short")
    assert steps[0].step == 4 and close(found, expected)


def test_little_memory_left_is_seen_before_the_system_acts(
    undisturbed: Undisturbed, tmp_path: Path, model_folder: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    expected, _ = undisturbed
    left = iter([10**12] * 7 + [10**6] + [10**12] * 10**5)
    monkeypatch.setattr(shortage, "memory_left", lambda: next(left))
    monkeypatch.setattr(shortage, "EVERY_SECONDS", 0.0)
    told: list[int] = []
    found, _ = trained(model_folder(), tmp_path / "short", lambda limits, step: told.append(step))
    assert told == [4] and close(found, expected)  # two blocks a step: the eighth look is in the fourth


@pytest.fixture(scope="module")
def demo() -> Loaded:
    return load_base(check_model(DEMO_MODEL), dtype="float32", device="cpu")


def test_measuring_goes_on_in_smaller_pieces_with_the_same_numbers(demo: Loaded, monkeypatch: pytest.MonkeyPatch) -> None:
    demo, some = replace(demo, shortcuts=find_shortcuts(demo.model)), examples()
    with_ends = [Encoded((*e.ids, min(demo.eos_ids)), (*e.loss_mask, True)) for e in some]
    expected = losses.heldout_losses(demo, some, 8), evaluate.stop_probability(demo, with_ends, 8)
    told: list[int] = []

    def only_small(function: Callable[..., Any]) -> Callable[..., Any]:
        return lambda model, batch, *rest: fail() if len(batch.ids) > 100 else function(model, batch, *rest)

    monkeypatch.setattr(losses, "document_losses", only_small(document_losses))
    monkeypatch.setattr(evaluate, "target_logits", only_small(target_logits))
    found = (losses.heldout_losses(demo, some, 8, told.append), evaluate.stop_probability(demo, with_ends, 8, told.append))
    assert np.allclose(found[0], expected[0], rtol=1e-5) and found[1] == pytest.approx(expected[1], rel=1e-6) and len(told) == 4


def test_answers_are_made_fewer_at_once_and_are_the_same(demo: Loaded, monkeypatch: pytest.MonkeyPatch) -> None:
    tokenizer = load_tokenizer(check_tokenizer(DEMO_MODEL))
    asked = [(Turn("user", f"{name}의 증상은 무엇인가요?"),) for name in ("고혈압", "천식", "통풍", "빈혈", "당뇨병")]

    def answers(told: list[int]) -> list[str]:
        given: dict[str, Any] = {"eos_ids": demo.eos_ids, "max_new_tokens": 8, "on_less": told.append}
        return [made.text for made in generate.answer(demo.model, tokenizer, asked, **given)]

    expected, make = answers([]), generate._answer_batch
    told: list[int] = []
    monkeypatch.setattr(
        generate, "_answer_batch", lambda m, t, prompts, *rest: fail() if len(prompts) > 1 else make(m, t, prompts, *rest)
    )
    assert answers(told) == expected and told == [2, 1]
    monkeypatch.setattr(generate, "_answer_batch", lambda *args: fail())
    with pytest.raises(OutOfMemoryError, match="this question"):
        answers(told)


LARGE = Recipe(**{**vars(RECIPE), "batch_size": 12, "micro_batch_size": 12, "max_steps": 1})
LONG = [Encoded(tuple(range(10, 410)), (False,) * 40 + (True,) * 360)] * 12
START = """
import resource, sys, psutil
sys.path[:0] = [{root!r}]
from tests.engine import test_memory_watch as t
from pathlib import Path
t.examples = lambda: t.LONG
place, told = Path({place!r}), []
t.trained(t.DEMO_MODEL, place / "warm", recipe=t.Recipe(**{{**vars(t.LARGE), "batch_size": 1, "micro_batch_size": 1}}))
"""
ADDRESSES = """
most = psutil.Process().memory_info().vms + {room}
resource.setrlimit(resource.RLIMIT_AS, (most, most))
"""
CONTAINER = """
import os
group = Path({group!r})
(group / "cgroup.procs").write_text(str(os.getpid()))
# what this process already holds stays on the account of its old group
(group / "memory.limit_in_bytes").write_text("{room}")
t.shortage._limit.cache_clear(), t.shortage._machine.cache_clear()  # a container has its limit from the start
"""
END = """
_, steps = t.trained(t.DEMO_MODEL, place / "run", lambda limits, step: told.append(limits.most_tokens), t.LARGE)
print(len(told), steps[0].loss)
"""


def survived(limit: str, place: Path, loss_without_limit: float, **values: Any) -> None:
    """A step of twelve long examples goes on under a limit of its own process, and its loss is the same."""
    given = {"root": str(Path(__file__).parents[2]), "place": str(place), "room": 300 * 2**20, **values}
    done = subprocess.run(
        [sys.executable, "-c", (START + limit + END).format(**given)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    count, loss = done.stdout.split()[-2:]
    assert int(count) > 0 and float(loss) == pytest.approx(loss_without_limit, rel=1e-5)


@pytest.fixture(scope="module")
def loss_without_limit(tmp_path_factory: pytest.TempPathFactory) -> float:
    """Return the loss of the same step where memory is plenty."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys.modules[__name__], "examples", lambda: LONG)
        _, (step,) = trained(DEMO_MODEL, tmp_path_factory.mktemp("free"), recipe=LARGE)
    assert step.loss is not None
    return step.loss


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not limit a program's memory in this way")
def test_a_real_limit_is_survived(tmp_path: Path, loss_without_limit: float) -> None:
    survived(ADDRESSES, tmp_path, loss_without_limit)


@pytest.fixture
def container() -> Iterator[Path]:
    """Yield a control group of our own (version 1), as a container has one; the kernel kills what exceeds
    it.
    """
    group = Path("/sys/fs/cgroup/memory") / f"nuguna-test-{os.getpid()}"
    try:
        group.mkdir()
    except OSError:
        pytest.skip("no control group can be made here")
    yield group
    group.rmdir()


def test_the_limit_of_a_container_is_survived(container: Path, tmp_path: Path, loss_without_limit: float) -> None:
    survived(CONTAINER, tmp_path, loss_without_limit, group=str(container))
