"""The planner: pure, complete, with a reason for everything; and the plan as a file."""

from __future__ import annotations

import random
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from nuguna.base_models.catalog import BaseModel, demo_model, load_catalog
from nuguna.data.facts import DataFacts
from nuguna.errors import SettingError
from nuguna.machine.hardware import Hardware
from nuguna.message import say
from nuguna.plan.auto import SENSIBLE_SECONDS
from nuguna.plan.example_tokens import long_tokens, mean_tokens, seen_tokens
from nuguna.plan.fixes import LENGTHS
from nuguna.plan.misfit import misfit
from nuguna.plan.plan import Plan, make_plan
from nuguna.plan.plan_file import SOURCES, plan_toml, read_plan, split_edited, write_plan
from nuguna.plan.settings import Request, gather
from nuguna.text.language import translator
from nuguna.text.units import format_bytes

GB = 10**9


def machine(device: str = "cpu", memory: float = 8, dtype: str = "float32", **values: Any) -> Hardware:
    settings = {
        "device": device,
        "name": "a machine",
        "num_devices": 1,
        "memory_bytes": int(memory * GB),
        "system_memory_bytes": int(2 * memory * GB),
        "num_cores": 4,
        "free_disk_bytes": 100 * GB,
        "dtype": dtype,
        "dtype_reason": say("because"),
    }
    return Hardware(**{**settings, **values})


LAPTOP, SMALL, M1 = machine(), machine(memory=2, num_cores=2), machine("mps", 5.5, "float16")
T4, H100 = machine("cuda", 15), machine("cuda", 79, "bfloat16")
FACTS = DataFacts(
    source="pairs.csv",
    num_examples=500,
    num_heldout=0,
    mean_chars=300.0,
    max_chars=2000,
    quantile_chars=(100, 200, 300, 500, 700),
    has_korean=True,
)
DEMO_FACTS = replace(
    FACTS, source="demo", num_examples=4088, num_heldout=2044, mean_chars=110.0, max_chars=283, quantile_chars=(60, 110, 160, 240)
)
LONG_FACTS = replace(
    FACTS, source="long.csv", mean_chars=1300.0, max_chars=30_000, quantile_chars=(200, 800, 2000, 4000), has_korean=False
)


def known(name: str) -> BaseModel:
    return next(m for m in load_catalog() if m.id == name)


def plan(
    request: Request | None = None, hardware: Hardware = LAPTOP, facts: DataFacts = FACTS, *models: BaseModel, **edited: Any
) -> Plan:
    return make_plan(request or Request(), hardware, facts, models or (demo_model(),), edited)


def test_planning_needs_no_torch() -> None:
    code = "import sys, nuguna.plan.plan_file, nuguna.data.reading, nuguna.hub.models; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("hardware", [LAPTOP, SMALL, M1, T4, H100], ids=lambda h: f"{h.device}{h.memory_bytes // GB}")
def test_auto_takes_the_best_that_fits_and_every_choice_has_a_reason(hardware: Hardware) -> None:
    made = plan(Request(), hardware, FACTS, *load_catalog(), demo_model())
    chosen = next((m for m in load_catalog() if m.id == made.model.value), None)
    better = [m for m in load_catalog() if chosen and m.quality > chosen.quality]
    assert made.fits
    assert made.memory.total_bytes <= hardware.memory_bytes
    assert all(m.num_parameters > chosen.num_parameters / 3 for m in better) if chosen else made.model.value == "demo"
    for name, choice in made.choices().items():
        assert str(choice.reason), name
        assert choice.source in SOURCES, name


def test_a_larger_machine_never_gets_a_worse_model() -> None:
    quality = []
    for hardware in (SMALL, T4, H100):
        made = plan(Request(), hardware, FACTS, *load_catalog(), demo_model())
        quality.append(next((m.quality for m in load_catalog() if m.id == made.model.value), 0))
    assert quality == sorted(quality) and quality[-1] > quality[0]


def test_without_any_other_model_it_is_the_demo_with_its_own_values() -> None:
    made = plan(facts=DEMO_FACTS)
    demo = demo_model()
    assert made.model.value == "demo" and "cannot be reached" in str(made.model.reason)
    assert (made.max_steps.value, made.batch_size.value, made.learning_rate.value) == (
        demo.max_steps,
        demo.batch_size,
        demo.learning_rate,
    )
    assert made.dtype.value == "float32"


def test_the_demo_is_not_blamed_on_the_network_when_others_are_there_but_too_large() -> None:
    made = plan(Request(), SMALL, FACTS, known("Qwen/Qwen3-14B"), demo_model())
    assert made.model.value == "demo"
    assert "too large" in str(made.model.reason)


def test_wishes_come_through_with_their_source() -> None:
    request = gather({"max_steps": "50"}, {"BATCH_SIZE": "1", "OUTPUT_DIR": "./quick_test"}, {"lora_r": 8})
    made = plan(request)
    assert (made.max_steps.value, made.batch_size.value, made.output_dir.value, made.lora_r.value) == (50, 1, "./quick_test", 8)
    assert [made.choices()[n].source for n in ("max_steps", "batch_size", "lora_r", "seed")] == [
        "flag",
        "environment",
        "plan file",
        "default",
    ]


def test_the_known_learning_rate_suits_smaller_batches_too_and_grows_with_larger_ones() -> None:
    rate = demo_model().learning_rate
    assert rate is not None
    assert [plan(Request(batch_size=size)).learning_rate.value for size in (1, 16, 64)] == [rate, rate, 2 * rate]


def test_the_demo_model_learns_other_data_than_its_own_in_small_batches() -> None:
    assert plan(facts=DEMO_FACTS).batch_size.value == demo_model().batch_size == 16
    assert plan(facts=FACTS).batch_size.value == 4


def test_long_examples_mean_fewer_steps_of_the_demo_model() -> None:
    long = replace(LONG_FACTS, mean_chars=3000.0, max_chars=20_000, quantile_chars=(2000, 4000, 14_000))
    usual = demo_model().max_steps
    assert usual is not None and 50 <= plan(facts=long).max_steps.value < usual
    assert plan(facts=long).max_steps.source == "data"
    assert plan(Request(max_steps=400), LAPTOP, long).max_steps.value == 400


def test_the_window_of_the_model_is_a_limit_and_said() -> None:
    made = plan(Request(max_seq_length=5000))
    assert made.max_seq_length.value == demo_model().context_tokens
    assert "5000" in str(made.max_seq_length.reason)


def test_too_large_a_model_does_not_fit_or_is_quantized() -> None:
    big = known("Qwen/Qwen3-14B")
    assert not plan(Request(model=big.id), LAPTOP, FACTS, big).fits
    on_t4 = plan(Request(model=big.id), T4, FACTS, big)
    assert on_t4.quantization.value == "4bit"
    assert plan(Request(model=big.id), H100, FACTS, big).quantization.value == "none"


def test_edited_values_are_taken_or_refused() -> None:
    made = plan(micro_batch_size=2, dtype="bfloat16", gradient_checkpointing=True, warmup_steps=7, max_grad_norm=0.5)
    assert (made.micro_batch_size.value, made.dtype.value, made.gradient_checkpointing.value) == (2, "bfloat16", True)
    assert (made.warmup_steps.value, made.max_grad_norm.value, made.dtype.source) == (7, 0.5, "plan file")
    for name, value in {
        "micro_batch_size": 0,
        "dtype": "int3",
        "gradient_checkpointing": 1,
        "weight_decay": -1,
        "device": "cuda",  # which this laptop has not
    }.items():
        edited: dict[str, Any] = {name: value}
        with pytest.raises(SettingError) as caught:
            plan(**edited)
        assert name in str(caught.value.what)


def test_a_plan_file_may_leave_the_gpu_alone() -> None:
    made = plan(Request(model="x"), H100, FACTS, known("Qwen/Qwen3-0.6B"), device="cpu")
    assert (made.device.value, made.device.source, made.dtype.value) == ("cpu", "plan file", "float32")
    assert made.usable_bytes == H100.system_memory_bytes
    assert plan(Request(), H100, device="cuda").device.value == "cuda"


def test_any_request_gives_a_sound_plan() -> None:
    rng = random.Random(1)
    for _ in range(200):
        models = rng.choice([(demo_model(),), (*load_catalog(), demo_model())])
        wishes: dict[str, Any] = {
            "batch_size": rng.choice([None, 1, 7, 512]),
            "max_seq_length": rng.choice([None, 16, 4096]),
            "lora_r": rng.choice([None, 1, 256]),
        }
        made = plan(Request(**wishes), rng.choice([LAPTOP, SMALL, M1, T4, H100]), rng.choice([FACTS, DEMO_FACTS]), *models)
        assert 1 <= made.micro_batch_size.value <= made.batch_size.value
        assert made.predicted_seconds > 0 and made.memory.total_bytes > 0
        assert made.fits == (made.memory.total_bytes <= made.usable_bytes)
        assert made.warmup_steps.value <= made.max_steps.value


@pytest.mark.parametrize("lang", ["en", "ko"])
def test_a_plan_file_holds_values_with_reasons_and_reads_back_the_same(lang: str, tmp_path: Path) -> None:
    made = plan(Request(max_steps=12))
    write_plan(made, tmp_path / "plan.toml", translator(lang))
    text = (tmp_path / "plan.toml").read_text("utf-8")
    for name, choice in made.choices().items():
        line = next(line for line in text.splitlines() if line.startswith(f"{name} = "))
        assert translator(lang)(choice.reason) in line
    wishes, edited = split_edited(read_plan(tmp_path / "plan.toml"))
    again = make_plan(gather({}, {}, wishes), LAPTOP, FACTS, (demo_model(),), edited)
    assert {n: c.value for n, c in again.choices().items()} == {n: c.value for n, c in made.choices().items()}
    assert plan_toml(made, translator("ko")) != plan_toml(made, translator("en"))


def test_any_name_and_reason_can_stand_in_a_plan_file(tmp_path: Path) -> None:
    name = 'C:\\모델 "1"\n#\t🎉'
    made = plan(
        Request(model="x", data=name, output_dir=name),
        machine(dtype_reason=say("two\r\nlines\0")),
        FACTS,
        known("Qwen/Qwen3-0.6B"),
    )
    write_plan(made, tmp_path / "plan.toml", str)
    values = read_plan(tmp_path / "plan.toml")
    assert (values["data"], values["output_dir"]) == (name, name)
    assert values == {n: c.value for n, c in made.choices().items()}
    (tmp_path / "plan.toml").write_text("\ufeffmax_steps = 3\r\n", encoding="utf-8")  # as Windows' editor saves it
    assert read_plan(tmp_path / "plan.toml") == {"max_steps": 3}


def test_an_unknown_key_or_broken_file_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "plan.toml"
    for text, expected in {"lora_rr = 3": "lora_r", "max_steps = ": "not valid TOML", "[a]\nb = 1": "unknown key"}.items():
        file.write_text(text)
        with pytest.raises(SettingError) as caught:
            read_plan(file)
        assert expected in str(caught.value)
    with pytest.raises(SettingError):
        read_plan(tmp_path / "none.toml")


# What does not fit, and what would


def offered(request: Request, hardware: Hardware, base: BaseModel, **edited: Any) -> dict[str, int]:
    made = make_plan(request, hardware, FACTS, (base,), edited)
    assert not made.fits
    return {remedy.change: remedy.needed_bytes for remedy in made.remedies}


def test_a_wish_that_cannot_be_kept_is_an_error_with_each_single_change_that_is_enough() -> None:
    base = known("Qwen/Qwen2.5-0.5B-Instruct")
    request = gather({"max_seq_length": "32000"}, {"MODEL": base.id}, {})
    made = make_plan(request, LAPTOP, replace(FACTS, max_chars=10**6), (base,))
    error = misfit(made)
    assert error is not None and error.exit_code == 2
    assert format_bytes(made.memory.total_bytes) in str(error.what) and format_bytes(LAPTOP.memory_bytes) in str(error.what)
    length = next(remedy for remedy in made.remedies if remedy.change.startswith("--max-seq-length "))
    assert f"{length.change} needs {format_bytes(length.needed_bytes)}" in str(error.fix)
    # what is promised comes true, and the next larger length would not have been enough
    value = int(length.change.split()[1])
    kept = make_plan(replace(request, max_seq_length=value), LAPTOP, replace(FACTS, max_chars=10**6), (base,))
    assert kept.fits and kept.memory.total_bytes == length.needed_bytes
    assert value < max(LENGTHS)
    larger = LENGTHS[LENGTHS.index(value) - 1]
    assert not make_plan(replace(request, max_seq_length=larger), LAPTOP, replace(FACTS, max_chars=10**6), (base,)).fits
    assert misfit(plan()) is None


def test_the_change_is_named_in_the_place_where_the_wish_was_made() -> None:
    base = known("Qwen/Qwen3-8B")
    for request, change in (
        (gather({"quantization": "none"}, {"MODEL": base.id}, {}), "--quantization 4bit"),
        (gather({}, {"MODEL": base.id, "QUANTIZATION": "none"}, {}), "QUANTIZATION=4bit"),
        (gather({}, {"MODEL": base.id}, {"quantization": "none"}), 'quantization = "4bit"'),
    ):
        assert change in offered(request, T4, base)
    assert not any("4bit" in change for change in offered(Request(model=base.id, quantization="none"), LAPTOP, base))
    small = known("Qwen/Qwen3-0.6B")
    long = replace(FACTS, max_chars=10**6)
    made = make_plan(Request(model=small.id, batch_size=512, max_seq_length=2048), T4, long, (small,), {"micro_batch_size": 512})
    assert any(remedy.change.startswith("micro_batch_size = ") for remedy in made.remedies)


def test_a_model_that_is_too_large_gets_the_best_smaller_one_offered() -> None:
    changes = offered(Request(model="Qwen/Qwen3-14B"), LAPTOP, known("Qwen/Qwen3-14B"))
    (name,) = (change.removeprefix("MODEL=") for change in changes if change.startswith("MODEL="))
    chosen = known(name)
    for model in load_catalog():
        if model.quality > chosen.quality and model.num_parameters < 14e9:
            assert not plan(Request(model=model.id), LAPTOP, FACTS, model).fits, model.id


def test_where_nothing_fits_other_programs_are_to_be_closed() -> None:
    made = plan(Request(), machine(memory=0.1))
    error = misfit(made)
    assert made.remedies == () and error is not None and "Close other programs" in str(error.fix)


def test_the_next_larger_models_stand_beside_the_plan() -> None:
    made = plan(Request(model="demo"), LAPTOP)
    fitting, too_large = made.larger
    assert fitting.fits and not too_large.fits
    assert demo_model().num_parameters < known(fitting.model).num_parameters < known(too_large.model).num_parameters
    for larger in made.larger:
        alone = plan(Request(model=larger.model), LAPTOP, FACTS, known(larger.model))
        assert larger.fits == (larger.needed_bytes <= 0.85 * LAPTOP.memory_bytes)
        assert alone.memory.total_bytes >= larger.needed_bytes  # more examples at once, if they fit
    assert [larger.fits for larger in plan(Request(model="x"), H100, FACTS, known("Qwen/Qwen3-14B")).larger] == []


# Length


def test_long_examples_get_a_longer_window_where_memory_and_time_allow_it() -> None:
    base = known("Qwen/Qwen3-0.6B")
    request = Request(model=base.id)
    roomy = plan(request, H100, LONG_FACTS, base)
    assert roomy.max_seq_length.value == 896 and "95 of 100" in str(roomy.max_seq_length.reason)  # 3000 / 4 + 24, rounded up
    measured = replace(H100, gemm_flops_per_second={"bfloat16": 4e14})  # not taken for a small card
    assert plan(request, measured, replace(LONG_FACTS, quantile_chars=(30_000,) * 2), base).max_seq_length.value == 2048
    longer = replace(LONG_FACTS, quantile_chars=(1000, 8000, 8000))
    sizes = (machine("cuda", memory / 10, "bfloat16") for memory in range(20, 80))
    tight = next(made for hardware in sizes if (made := plan(request, hardware, longer, base)).fits)
    assert tight.max_seq_length.value < 2024 and "not fit" in str(tight.max_seq_length.reason)
    slow = machine(memory=64, gemm_flops_per_second={"float32": 1e11})
    assert plan(request, slow, LONG_FACTS, base).max_seq_length.value == 512
    assert plan(Request(model=base.id, max_seq_length=300), H100, LONG_FACTS, base).max_seq_length.value == 300
    assert plan(Request(), LAPTOP, LONG_FACTS).max_seq_length.value == demo_model().context_tokens
    assert plan(facts=FACTS).max_seq_length.value == 512


def test_what_is_too_long_for_the_window_is_not_trained_and_takes_no_time() -> None:
    base = known("Qwen/Qwen3-0.6B")
    assert mean_tokens(base, LONG_FACTS, 4096) == 1300 / 4 + 16  # all are trained: the mean itself
    assert mean_tokens(base, LONG_FACTS, 600) == (200 + 800 + 2000) / 3 / 4 + 16
    assert mean_tokens(base, LONG_FACTS, 60) == 60  # every one is cut
    assert seen_tokens(base, LONG_FACTS, 60) == 60 and seen_tokens(base, LONG_FACTS, 4096) > mean_tokens(base, LONG_FACTS, 4096)
    assert long_tokens(base, LONG_FACTS) == 3000 // 4 + 24


# Time


def server(num_cores: int) -> Hardware:
    return machine(memory=64, num_cores=num_cores, gemm_flops_per_second={"float32": num_cores * 1e11})


def test_the_measured_rate_decides_how_long_it_takes_and_which_model_is_sensible() -> None:
    base = known("Qwen/Qwen3-0.6B")
    rates = [machine(memory=16, gemm_flops_per_second={"float32": rate}) for rate in (8e11, 16e11)]
    slow_time, fast_time = (plan(Request(model=base.id), hardware, FACTS, base).time.parts for hardware in rates)
    assert 1.4 * fast_time["training"] < slow_time["training"] < 2 * fast_time["training"]  # not all of it is products
    assert fast_time["measuring_after"] < slow_time["measuring_after"] < 2 * fast_time["measuring_after"]
    models = (*load_catalog(), demo_model())
    fast, slow = (plan(Request(), server(n), FACTS, *models) for n in (64, 1))
    assert slow.fits and fast.predicted_seconds < SENSIBLE_SECONDS
    assert known(fast.model.value).num_parameters > 2e9 and slow.model.value == "demo"
    assert "30 minutes" in str(fast.model.reason) and "30 minutes" in str(slow.model.reason)


def test_the_time_has_parts_that_add_up_and_grow_with_the_work() -> None:
    made = plan(facts=DEMO_FACTS)
    assert made.predicted_seconds == sum(made.time.parts.values())
    assert list(made.time.parts) == ["loading", "measuring_before", "training", "measuring_after", "proving"]
    twice = plan(Request(max_steps=600), facts=DEMO_FACTS).time.parts
    assert twice["training"] == pytest.approx(2 * made.time.parts["training"])
    assert twice["measuring_after"] == made.time.parts["measuring_after"]
    again = plan(facts=DEMO_FACTS, gradient_checkpointing=True).time.parts
    assert 1.2 * made.time.parts["training"] < again["training"] < 1.5 * made.time.parts["training"]
    fewer = plan(facts=DEMO_FACTS, heldout_examples=8).time.parts
    assert fewer["measuring_after"] < 0.5 * made.time.parts["measuring_after"]


def test_korean_data_gets_a_model_that_knows_korean() -> None:
    english = known("HuggingFaceTB/SmolLM2-360M-Instruct")
    made = plan(Request(), H100, FACTS, english, demo_model())
    assert made.model.value == "demo" and "Korean" in str(made.model.reason)
    assert plan(Request(), H100, LONG_FACTS, english, demo_model()).model.value == english.id


def test_auto_leaves_room_to_spare_and_a_wish_may_use_all_that_is_free() -> None:
    base = known("Qwen/Qwen3-0.6B")
    needed = plan(Request(model=base.id, batch_size=1), H100, FACTS, base).memory.total_bytes
    tight = machine("cuda", needed * 1.1 / GB, "bfloat16")
    wished = plan(Request(model=base.id, batch_size=1, quantization="none"), tight, FACTS, base, gradient_checkpointing=False)
    assert wished.fits and wished.memory.total_bytes == needed
    asked = Request(quantization="none")
    found = [plan(asked, machine("cuda", needed * share / GB, "bfloat16"), FACTS, base, demo_model()) for share in (0.8, 1.3)]
    assert [made.model.value for made in found] == ["demo", base.id]
    assert all(made.memory.total_bytes <= 0.851 * made.usable_bytes for made in found)
