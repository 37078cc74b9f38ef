"""Adapter and loss on every architecture we name: where LoRA sits, that a fresh one changes nothing, that the
loss is exact.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from transformers.pytorch_utils import Conv1D

from nuguna.base_models.checked import check_adapter, check_model
from nuguna.engine.adapter import adapter_parameters, block_linear_names
from nuguna.engine.causal_lm import CausalLM
from nuguna.engine.forward import Shortcuts, find_shortcuts
from nuguna.engine.last import LastBlock
from nuguna.engine.linear import LoraLinear
from nuguna.engine.loss import document_losses, loss_sum
from nuguna.engine.mlp import GatedMlp
from nuguna.engine.norm import RmsNorm
from nuguna.engine.training import training_form
from nuguna.model.adapter import attach_adapter, base_fingerprint, reload_adapter, save_adapter
from nuguna.model.load import load_base
from nuguna.tokens.batch import Batch, collate, micro_batches
from nuguna.tokens.encode import Encoded
from tests.conftest import ARCHITECTURES

EXAMPLES = (
    Encoded(ids=tuple(range(10, 30)), loss_mask=(False,) * 12 + (True,) * 8),
    Encoded(ids=tuple(range(40, 49)), loss_mask=(False,) * 3 + (True,) * 6),
    Encoded(ids=tuple(range(60, 75)), loss_mask=(False,) * 14 + (True,)),
    Encoded(ids=tuple(range(80, 89)), loss_mask=(False,) * 3 + (True,) * 6),  # as long as another: they go through together
    Encoded(ids=tuple(range(100, 160)), loss_mask=(False,) * 10 + (True,) * 50),  # longer than the sliding windows, of 32 tokens
)
PLAIN = Shortcuts(split_head=False, packed=False, fused=False)
# the linear layers of one block, by what the architecture calls them
LINEAR_LAYERS = {
    "phi3": {"qkv_proj", "o_proj", "gate_up_proj", "down_proj"},
    "gpt_neox": {"query_key_value", "dense", "dense_h_to_4h", "dense_4h_to_h"},
    "gpt2": {"c_attn", "c_proj", "c_fc"},
}
LLAMA_LAYERS = {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}

pytestmark = pytest.mark.parametrize("architecture", ARCHITECTURES)


def attached(folder: Path, *, seed: int = 1) -> CausalLM:
    base = load_base(check_model(folder), dtype="float32", device="cpu").model
    return attach_adapter(base, base_name="x", lora_r=4, lora_alpha=8, seed=seed, gradient_checkpointing=False)


def test_lora_sits_on_all_linear_layers_of_the_blocks_and_nowhere_else(
    architecture: str, model_folder: Callable[..., Path]
) -> None:
    base = load_base(check_model(model_folder(architecture)), dtype="float32", device="cpu").model
    names = block_linear_names(base)
    assert {name.rsplit(".", 1)[-1] for name in names} == LINEAR_LAYERS.get(architecture, LLAMA_LAYERS)
    everywhere = [name for name, module in base.named_modules() if isinstance(module, (torch.nn.Linear, Conv1D))]
    assert set(everywhere) - set(names) <= {"lm_head", "embed_out"}  # only the head is left out
    model = attach_adapter(base, base_name="x", lora_r=4, lora_alpha=8, seed=1, gradient_checkpointing=False)
    assert len(adapter_parameters(model)) == 2 * len(names)  # A and B for each
    assert all("lora_" in name and p.dtype == torch.float32 for name, p in adapter_parameters(model).items())


def test_a_fresh_adapter_changes_nothing_and_a_step_changes_only_the_adapter(
    architecture: str, model_folder: Callable[..., Path]
) -> None:
    base = load_base(check_model(model_folder(architecture)), dtype="float32", device="cpu").model
    ids = torch.arange(5, 25)[None]
    with torch.no_grad():
        plain = base(input_ids=ids).logits.clone()
    before = base_fingerprint(base)
    model = attach_adapter(base, base_name="x", lora_r=4, lora_alpha=8, seed=1, gradient_checkpointing=False)
    with torch.no_grad():
        assert torch.equal(model(input_ids=ids).logits, plain)
    optimizer = torch.optim.AdamW(adapter_parameters(model).values(), lr=0.05)
    loss_sum(model, collate(EXAMPLES, "cpu"), PLAIN).backward()
    optimizer.step()
    assert base_fingerprint(model) == before
    with torch.no_grad():
        assert not torch.allclose(model(input_ids=ids).logits, plain, atol=1e-4)


def test_base_fingerprint_notices_one_changed_number(architecture: str, model_folder: Callable[..., Path]) -> None:
    base = load_base(check_model(model_folder(architecture)), dtype="float32", device="cpu").model
    before = base_fingerprint(base)
    with torch.no_grad():
        list(base.parameters())[-1].view(-1)[3] += 1e-3
    assert base_fingerprint(base) != before


def test_the_loss_is_that_of_the_whole_model_on_trained_tokens_only(architecture: str, model_folder: Callable[..., Path]) -> None:
    model = attached(model_folder(architecture))
    expected = torch.zeros(())
    for example in EXAMPLES:  # one by one, without padding, by hand
        ids = torch.tensor([example.ids.tolist()])
        log_p = model(input_ids=ids).logits[0, :-1].float().log_softmax(-1)
        for place in range(1, len(example.ids)):
            if example.loss_mask[place]:
                expected = expected - log_p[place - 1, example.ids[place]]
    found = find_shortcuts(model)
    # two change logits after the head, and none of those we name needs padding
    assert found == Shortcuts(split_head=architecture not in ("gemma2", "granite"), packed=True, fused=True)
    apart = replace(PLAIN, split_head=found.split_head)
    for shortcuts in (PLAIN, apart, replace(PLAIN, packed=True), replace(PLAIN, fused=True), found):
        with training_form(model.train(), shortcuts):
            total = loss_sum(model, collate(EXAMPLES, "cpu"), shortcuts)
        torch.testing.assert_close(total, expected, rtol=1e-5, atol=1e-5)


def gradients(
    folder: Path,
    shortcuts: Shortcuts,
    most_tokens: int,
    *,
    checkpointing: bool = False,
    dtype: str = "float32",
    examples: tuple[Encoded, ...] = EXAMPLES,
    loss: Callable[..., torch.Tensor] = loss_sum,
) -> torch.Tensor:
    """Of the mean loss over all examples, for an adapter that is not zero."""
    base = load_base(check_model(folder), dtype=dtype, device="cpu").model
    model = attach_adapter(base, base_name="x", lora_r=4, lora_alpha=8, seed=1, gradient_checkpointing=checkpointing).train()
    for p in adapter_parameters(model).values():
        torch.nn.init.normal_(p, std=0.05, generator=torch.Generator().manual_seed(p.numel()))
    num_trained = sum(e.num_trained for e in examples)
    with training_form(model, shortcuts):
        for batch in micro_batches(examples, most_tokens, "cpu", packed=shortcuts.packed):
            (loss(model, batch, shortcuts).sum() / num_trained).backward()
    return torch.cat([p.grad.flatten() for p in adapter_parameters(model).values() if p.grad is not None])


def test_losses_of_single_documents_have_the_gradients_of_their_sum(architecture: str, model_folder: Callable[..., Path]) -> None:
    folder = model_folder(architecture)
    base = load_base(check_model(folder), dtype="float32", device="cpu").model
    for shortcuts in (PLAIN, find_shortcuts(base)):
        expected = gradients(folder, shortcuts, 10**6)
        found = gradients(folder, shortcuts, 10**6, loss=document_losses)
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)


def test_gradients_depend_neither_on_the_micro_batch_size_nor_on_the_way(
    architecture: str, model_folder: Callable[..., Path]
) -> None:
    folder = model_folder(architecture)
    one_by_one = gradients(folder, PLAIN, 1)  # plain peft and transformers
    assert one_by_one.abs().max() > 1e-6
    short = Shortcuts(split_head=architecture not in ("gemma2", "granite"), packed=True, fused=True)
    packed = replace(PLAIN, packed=True)
    ways = ((PLAIN, 100, False), (packed, 30, False), (short, 1, False), (short, 999, True))
    for shortcuts, most_tokens, checkpointing in ways:
        found = gradients(folder, shortcuts, most_tokens, checkpointing=checkpointing)
        torch.testing.assert_close(found, one_by_one, rtol=2e-4, atol=1e-6)


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-5), ("bfloat16", 0.05)])
@pytest.mark.parametrize("is_packed", [False, True])
def test_gradients_by_hand_are_those_of_plain_peft(
    is_packed: bool, dtype: str, tolerance: float, architecture: str, model_folder: Callable[..., Path]
) -> None:
    """Largest difference as a share of the largest gradient; bfloat16 keeps 8 bits, and peft computes its own
    half in float32.
    """
    folder = model_folder(architecture)
    by_hand = gradients(folder, Shortcuts(architecture not in ("gemma2", "granite"), is_packed, fused=True), 100, dtype=dtype)
    expected = gradients(folder, PLAIN, 100, dtype=dtype)
    assert float((by_hand - expected).abs().max()) <= tolerance * float(expected.abs().max())


# as with a system prompt: the same beginning, and then the whole of EXAMPLES
SHARED = tuple(
    Encoded(ids=(*range(200, 240), *e.ids), loss_mask=(*(False,) * 40, *e.loss_mask))
    for e in (*EXAMPLES, EXAMPLES[0], EXAMPLES[2])
)


@pytest.mark.parametrize("checkpointing", [False, True])
def test_a_prompt_that_examples_share_is_computed_once_and_changes_nothing(
    checkpointing: bool, architecture: str, model_folder: Callable[..., Path]
) -> None:
    folder, short = (model_folder(architecture), Shortcuts(architecture not in ("gemma2", "granite"), packed=True, fused=True))
    expected = gradients(folder, PLAIN, 1, examples=SHARED)
    batches: list[int] = []

    def seen(model: CausalLM, batch: Batch, shortcuts: Shortcuts) -> torch.Tensor:
        batches.append(batch.prefix)
        return loss_sum(model, batch, shortcuts)

    found = gradients(folder, short, 200, checkpointing=checkpointing, examples=SHARED, loss=seen)
    assert batches == [40, 40, 0]  # three documents, three, and one that has nobody to share with
    torch.testing.assert_close(found, expected, rtol=2e-4, atol=1e-6)


def test_every_part_that_can_be_computed_by_hand_is(architecture: str, model_folder: Callable[..., Path]) -> None:
    model = attached(model_folder(architecture)).train()
    kinds = [type(m) for m in model.modules()]
    with training_form(model, Shortcuts(split_head=True, packed=True, fused=True)):
        layers = [m for m in model.modules() if isinstance(m, LoraLinear)]
        assert layers and all(layer.matrices is not None for layer in layers)
        found = {kind: sum(isinstance(m, kind) for m in model.modules()) for kind in (GatedMlp, RmsNorm)}
        assert any(isinstance(m, LastBlock) for m in model.modules()) == (architecture in ("llama", "qwen2", "qwen3"))
        shared = {tuple(sorted(names(model, layer.siblings.layers))) for layer in layers if layer.siblings}
    blocks = 2
    has_own_norm = architecture in ("gpt2", "gpt_neox")  # LayerNorm
    norms = {"gemma2": 4, "gemma3": 6, "qwen3": 4}.get(architecture, 2) * blocks + 1
    has_own_mlp = has_own_norm or architecture == "phi3"
    assert found == {GatedMlp: 0 if has_own_mlp else blocks, RmsNorm: 0 if has_own_norm else norms}
    assert shared == (set() if has_own_mlp else {("k_proj", "q_proj", "v_proj"), ("gate_proj", "up_proj")})
    assert [type(m) for m in model.modules()] == kinds  # and afterwards the model is as it was
    assert all(layer.matrices is None and layer.siblings is None for layer in layers)


def test_attention_of_the_last_block_ends_only_where_it_is_read(architecture: str, model_folder: Callable[..., Path]) -> None:
    model, shortcuts = (attached(model_folder(architecture)).train(), Shortcuts(split_head=True, packed=True, fused=True))
    (batch,) = micro_batches(EXAMPLES, 10**6, "cpu", packed=True)
    rows = []
    with training_form(model, shortcuts):
        last_blocks = [m for m in model.modules() if isinstance(m, LastBlock)]
        for block in last_blocks:
            block.get_submodule("self_attn.o_proj").register_forward_hook(
                lambda layer, inputs, output: rows.append(output.shape[1])
            )
        loss_sum(model, batch, shortcuts)
    assert rows == [len(batch.trained)] * len(last_blocks) and len(batch.trained) < len(batch.ids)


def names(model: CausalLM, modules: Sequence[torch.nn.Module]) -> list[str]:
    """Return the last part of the name of each module."""
    by_id = {id(module): name.rsplit(".", 1)[-1] for name, module in model.named_modules()}
    return [by_id[id(module)] for module in modules]


def test_afterwards_the_model_pays_attention_as_before(architecture: str, model_folder: Callable[..., Path]) -> None:
    model = load_base(check_model(model_folder(architecture)), dtype="float32", device="cpu").model
    ids = torch.arange(5, 25)[None]
    with torch.no_grad():
        before = model(input_ids=ids).logits
        find_shortcuts(model)
        assert torch.equal(model(input_ids=ids).logits, before)


def test_saved_and_reloaded_by_plain_libraries_gives_the_same_logits(
    architecture: str, model_folder: Callable[..., Path], tmp_path: Path
) -> None:
    folder = model_folder(architecture)
    loaded = load_base(check_model(folder), dtype="float32", device="cpu")
    model = attach_adapter(loaded.model, base_name=str(folder), lora_r=4, lora_alpha=8, seed=1, gradient_checkpointing=False)
    for p in adapter_parameters(model).values():
        torch.nn.init.normal_(p, std=0.1, generator=torch.Generator().manual_seed(p.numel()))
    save_adapter(model, loaded.tokenizer, tmp_path)
    ids = torch.arange(5, 25)[None]
    with torch.no_grad():
        expected = model.eval()(input_ids=ids).logits
        fresh = load_base(check_model(folder), dtype="float32", device="cpu").model
        plain = fresh(input_ids=ids).logits.clone()
        found = reload_adapter(fresh, check_adapter(tmp_path))(input_ids=ids).logits
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)
    assert not torch.allclose(found, plain, atol=1e-3)
    assert not list(tmp_path.glob("*.bin"))  # never a pickle
