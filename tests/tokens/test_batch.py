"""Which examples are trained when, and how they become tensors."""

from __future__ import annotations

import random

import pytest
import torch

from nuguna.tokens.batch import collate, epoch_order, micro_batches, step_indices, worthwhile_prefix
from nuguna.tokens.encode import Encoded


def example(length: int, trained: int) -> Encoded:
    return Encoded(ids=tuple(range(100, 100 + length)), loss_mask=(False,) * (length - trained) + (True,) * trained)


def test_every_example_is_seen_once_an_epoch_and_steps_do_not_skip_at_its_border() -> None:
    seen = [i for step in range(30) for i in step_indices(10, 3, 42, step)]
    for epoch in range(9):
        assert sorted(seen[epoch * 10 : epoch * 10 + 10]) == list(range(10))


def test_the_order_depends_on_seed_and_epoch_alone() -> None:
    random.seed(1)
    first = epoch_order(50, 42, 3)
    epoch_order.cache_clear()
    random.seed(2)
    assert epoch_order(50, 42, 3) == first
    assert epoch_order(50, 42, 4) != first
    assert epoch_order(50, 43, 3) != first
    assert first != tuple(range(50))


def test_a_batch_larger_than_the_data_goes_round_several_times() -> None:
    counts = [step_indices(3, 7, 1, 0).count(i) for i in range(3)]
    assert sum(counts) == 7 and min(counts) == 2


def test_documents_lie_end_to_end_and_begin_to_count_anew() -> None:
    batch = collate([example(6, 2), example(3, 1)], "cpu")
    assert batch.lengths == (6, 3)
    assert batch.ids.tolist() == [*example(6, 2).ids, *example(3, 1).ids]
    assert batch.positions.tolist() == [0, 1, 2, 3, 4, 5, 0, 1, 2]
    assert batch.trained.tolist() == [4, 5, 8]


@pytest.mark.parametrize(("packed", "sizes"), [(True, [4, 2, 1]), (False, [3, 2, 1, 1])])
def test_micro_batches_hold_every_example_once_and_so_many_tokens(packed: bool, sizes: list[int]) -> None:
    lengths = [9, 3, 7, 4, 8, 2, 6]  # sorted: 2 3 4 6 7 8 9
    batches = list(micro_batches([example(n, 1) for n in lengths], 16, "cpu", packed=packed))
    assert sorted(n + b.prefix for b in batches for n in b.lengths) == sorted(lengths)
    assert [len(b.lengths) for b in batches] == sizes
    assert all(len(b.ids) <= 16 for b in batches)


def test_an_example_that_is_too_long_goes_alone() -> None:
    batches = list(micro_batches([example(n, 1) for n in (5, 50, 5)], 10, "cpu", packed=True))
    assert [len(b.lengths) for b in batches] == [2, 1]


def beginning(ids: list[int], first: int) -> Encoded:
    return Encoded(tuple(ids), tuple(i >= first for i in range(len(ids))))


def test_a_shared_prefix_ends_before_the_token_that_predicts_the_first_trained_one() -> None:
    cpu = torch.device("cpu")
    alike = [beginning([1, 2, 3, 4, 5, 6, n], 4) for n in (7, 8, 9)]
    assert worthwhile_prefix(alike, cpu) == 3  # token 4 predicts the first trained one
    assert worthwhile_prefix([beginning([1, 2, 3, 9, 5], 4), *alike], cpu) == 3
    assert worthwhile_prefix([beginning([1, 9, 3, 9, 5], 4), *alike], cpu) == 1
    assert worthwhile_prefix([beginning([9, 2, 3], 2), *alike], cpu) == 0
    assert worthwhile_prefix(alike[:1], cpu) == 0  # there is nobody to share with
    assert worthwhile_prefix([beginning([1, 2] + [n] * 400, 300) for n in (3, 4)], cpu) == 0  # saves 2 tokens of 804
    assert worthwhile_prefix([beginning([1, 2, 3], 1), beginning([1, 2, 4], 1)], cpu) == 0  # all is trained


def test_with_a_shared_prefix_the_row_holds_it_once() -> None:
    batch = collate([beginning([1, 2, 3, 4], 3), beginning([1, 2, 5, 6, 7], 4)], "cpu", prefix=2)
    assert batch.ids.tolist() == [1, 2, 3, 4, 5, 6, 7]
    assert batch.positions.tolist() == [0, 1, 2, 3, 2, 3, 4]
    assert batch.trained.tolist() == [3, 6]
    assert (batch.prefix, batch.lengths) == (2, (2, 3))
