"""Tiny real things for the tests: models of every architecture with random weights, the real tokenizer, a
finished run.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import pytest

from nuguna.machine.process import prepare

os.environ["HF_HUB_OFFLINE"] = "1"  # no test may reach a hub
os.environ["NUGUNA_LANG"] = "en"
_cache = tempfile.TemporaryDirectory()  # held until the end: tests leave nothing in the user's own cache
os.environ["XDG_CACHE_HOME"] = _cache.name
if "PYTEST_XDIST_WORKER" in os.environ:  # each core has a worker of its own
    os.environ["OMP_NUM_THREADS"] = "1"
prepare()  # before torch is imported, as the program does
for _name in ("MODEL", "DATASET", "OUTPUT_DIR", "MAX_STEPS", "BATCH_SIZE"):
    os.environ.pop(_name, None)

DEMO_MODEL = Path(__file__).parents[1] / "src" / "nuguna" / "demo" / "model"
_SMALL = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 256,
}
_GROUPED = {**_SMALL, "num_key_value_heads": 2}
# architecture → (configuration class, settings)
ARCHITECTURES: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("LlamaConfig", _GROUPED),
    "qwen2": ("Qwen2Config", _GROUPED),
    "qwen3": ("Qwen3Config", {**_GROUPED, "head_dim": 16}),
    "gemma2": ("Gemma2Config", {**_GROUPED, "head_dim": 16, "sliding_window": 32}),  # caps its logits after the head
    "gemma3": ("Gemma3TextConfig", {**_GROUPED, "head_dim": 16, "sliding_window": 32}),
    "phi3": ("Phi3Config", {**_GROUPED, "pad_token_id": 3}),  # q, k and v in one layer, gate and up in one
    "gpt_neox": ("GPTNeoXConfig", _SMALL),  # head of its own, two residuals at once
    "gpt2": ("GPT2Config", {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 256}),  # Conv1D, learned positions: DialoGPT
    "granite": ("GraniteConfig", {**_GROUPED, "logits_scaling": 4.0, "residual_multiplier": 0.5}),  # scales logits and residuals
}


def pytest_unconfigure() -> None:
    """At the end of a worker, before the interpreter goes."""
    _cache.cleanup()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """With NUGUNA_TEST_EXTRAS=1, as in continuous integration, an optional package that is missing is a
    failure.
    """
    report = yield
    if report.skipped and "could not import" in str(report.longrepr) and os.environ.get("NUGUNA_TEST_EXTRAS") == "1":
        report.outcome = "failed"
    return report


def make_model_folder(folder: Path, architecture: str = "llama", *, chat_template: bool = True, seed: int = 0) -> Path:
    """Return a model folder as it comes from a hub: random weights in safetensors, configuration, the demo
    model's real tokenizer.
    """
    import torch
    import transformers

    from nuguna.base_models.checked import check_tokenizer
    from nuguna.tokens.tokenizer import load_tokenizer, silence_libraries

    silence_libraries()
    tokenizer: Any = load_tokenizer(check_tokenizer(DEMO_MODEL))
    name, settings = ARCHITECTURES[architecture]
    ids = {"vocab_size": 7200, "bos_token_id": None, "eos_token_id": tokenizer.eos_token_id}
    torch.manual_seed(seed)
    config = getattr(transformers, name)(**{**ids, **settings})
    model = transformers.AutoModelForCausalLM.from_config(config)
    model.save_pretrained(folder)
    if not chat_template:
        tokenizer.chat_template = None
    tokenizer.save_pretrained(folder)
    return folder


def write_pairs(path: Path, count: int = 40) -> Path:
    """Return a small dataset of the user's own: question and answer columns, JSONL, Korean and English."""
    rows = []
    for i in range(count):
        rows.append({"question": f"{i}번 약의 이름은 무엇인가요?", "answer": f"{i}번 약의 이름은 나루{i % 7}입니다."})
        rows.append(
            {"question": f"What is the color of pill {i}?", "answer": f"The color of pill {i} is {['red', 'blue'][i % 2]}."}
        )
    path.write_text("\n".join(json.dumps(row, ensure_ascii=False) for row in rows) + "\n", encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """`model_folder("gpt2")`: a tiny model of an architecture, made once a session."""
    made: dict[tuple[str, bool], Path] = {}

    def get(architecture: str = "llama", chat_template: bool = True) -> Path:
        key = (architecture, chat_template)
        if key not in made:
            folder = tmp_path_factory.mktemp(f"{architecture}-{chat_template}")
            made[key] = make_model_folder(folder, architecture, chat_template=chat_template)
        return made[key]

    return get


@pytest.fixture(scope="session")
def finished_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a short, finished, successful run of the demo model."""
    from nuguna import Request, fine_tune

    folder = tmp_path_factory.mktemp("finished")
    data = write_pairs(folder / "pairs.jsonl")
    request = Request(
        model="demo", data=str(data), output_dir=str(folder / "results"), max_steps=40, batch_size=8, learning_rate=0.003
    )
    report = fine_tune(request)
    assert report.status == "succeeded", [check.to_json() for check in report.checks]
    return folder / "results"
