"""Wishes: where they may stand, which place wins, and what is said about impossible ones."""

from __future__ import annotations

import dataclasses
import os
from typing import Any

import pytest
import tomlkit

from nuguna.errors import SettingError
from nuguna.plan.plan import Plan, value_names
from nuguna.plan.plan_values import PLAN_VALUES, WITHOUT_EFFECT
from nuguna.plan.settings import SETTINGS, Request, Setting, gather

FITTING: dict[str, tuple[Any, Any, Any]] = {
    "model": ("a", "b", "c"),
    "data": ("a", "b", "c"),
    "data_columns": ("a", "b,c", "d , e"),
    "output_dir": ("a", "b", "c"),
    "learning_rate": ("0.1", "0.2", 0.3),
    "lora_alpha": ("1.5", "2", 3),
    "quantization": ("none", "8bit", "4bit"),
    "lang": ("ko", "en", "auto"),
}


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda s: s.name)
def test_flag_before_environment_before_plan_file(setting: Setting) -> None:
    flag, spoken, written = FITTING.get(setting.name, ("1", "2", 3))
    everywhere = ({setting.name: flag}, {setting.env: spoken}, {setting.name: written})
    for left_out, source in enumerate(("flag", "environment", "plan file")):
        places = [{} if i < left_out else place for i, place in enumerate(everywhere)]
        request = gather(*places)
        expected = (flag, spoken, written)[left_out]
        assert getattr(request, setting.name) == setting.parse(expected)
        assert request.sources[setting.name] == source
    assert getattr(gather({}, {setting.env: " "}, {}), setting.name) is None


@pytest.mark.parametrize(
    ("env", "value"),
    [("BATCH_SIZE", v) for v in ("0", "-1", "1.5", "abc", "1e9", "99999999999")]
    + [("LORA_R", "abc"), ("MAX_STEPS", "ten"), ("LEARNING_RATE", "nan"), ("LEARNING_RATE", "inf"), ("LEARNING_RATE", "0")]
    + [("LEARNING_RATE", "2"), ("QUANTIZATION", "5bit"), ("NUGUNA_LANG", "fr"), ("SEED", "-1"), ("LORA_ALPHA", "x")],
)
def test_an_impossible_value_is_refused_in_the_users_spelling(env: str, value: str) -> None:
    with pytest.raises(SettingError) as caught:
        gather({}, {env: value}, {})
    assert env in str(caught.value.what) and value in str(caught.value.what)
    assert caught.value.seen is not None and f"{env}=" in str(caught.value.fix)
    name = next(s.name for s in SETTINGS if s.env == env)
    with pytest.raises(SettingError) as caught:
        gather({name: value}, {}, {})
    assert "--" + name.replace("_", "-") in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value"), [("batch_size", True), ("batch_size", 2.0), ("model", ""), ("lora_r", 0), ("seed", 1.5), ("seed", False)]
)
def test_python_wishes_are_checked_too(name: str, value: Any) -> None:
    with pytest.raises(SettingError):
        Request(**{name: value})


def test_a_request_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Request().seed = 3  # type: ignore[misc]


def test_every_value_of_a_plan_is_defined_once_and_every_wish_but_the_language_is_one() -> None:
    choices = {item.name for item in dataclasses.fields(Plan)} - {"fits", "usable_bytes", "memory", "answer_bytes", "time"}
    assert set(PLAN_VALUES) == set(value_names()) == choices - {"larger", "remedies"}
    assert {setting.name for setting in SETTINGS} - set(PLAN_VALUES) == {"lang"}
    assert all(str(value.title) and value.kind in (str, int, float, bool) for value in PLAN_VALUES.values())
    assert {
        *("output_dir", "micro_batch_size", "checkpoint_every", "gradient_checkpointing", "device", "deterministic")
    } == WITHOUT_EFFECT


@pytest.mark.parametrize(
    ("name", "good", "bad"),
    [
        ("max_steps", [1, 500], ["1", 1.0, True, None]),
        ("lora_alpha", [16, 16.0], ["16", False]),
        ("deterministic", [True, False], [1, 0, "true"]),
        ("dtype", ["bfloat16"], ["int3", 16, ["bfloat16"]]),
        ("quantization", ["none", "4bit"], ["2bit"]),
    ],
)
def test_a_value_of_a_plan_has_its_kind(name: str, good: list[Any], bad: list[Any]) -> None:
    assert all(map(PLAN_VALUES[name].has_kind, good))
    assert not any(map(PLAN_VALUES[name].has_kind, bad))


def test_zero_and_a_date_are_seeds() -> None:
    assert [gather({}, {"SEED": seed}, {}).seed for seed in ("0", " 20261124 ", "4294967295")] == [0, 20261124, 2**32 - 1]


@pytest.mark.parametrize("name", ["model", "batch_size", "learning_rate"])
def test_what_a_plan_file_should_say_is_said_as_toml(name: str) -> None:
    with pytest.raises(SettingError) as caught:
        gather({}, {}, {name: False})
    assert f"{name} cannot be False" in str(caught.value.what)
    default = next(setting.default for setting in SETTINGS if setting.name == name)
    assert tomlkit.parse(str(caught.value.fix).removeprefix("For example: ")).unwrap() == {name: default or 0.0002}


def test_bytes_of_the_environment_that_are_no_text_are_refused() -> None:
    with pytest.raises(SettingError) as caught:
        gather({}, {"OUTPUT_DIR": os.fsdecode(b"\xff")}, {})
    assert str(caught.value).encode()
