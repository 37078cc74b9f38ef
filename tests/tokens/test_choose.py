"""What is trained and what measured: nothing of one in the other, the same whatever the order of the file."""

from __future__ import annotations

import json
import random
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from nuguna.base_models.checked import check_tokenizer
from nuguna.data import conversation_store as shelf
from nuguna.data.conversations.conversation import Conversation, Turn
from nuguna.data.dataset import load_dataset
from nuguna.data.similar import question_key
from nuguna.tokens import cache
from nuguna.tokens import choose as choose_module
from nuguna.tokens import token_store as tokens
from nuguna.tokens.cache import Chosen, choose_or_recall
from nuguna.tokens.choose import Encoding, SplitRules, encode_pairs, require_apart
from nuguna.tokens.encode import Encoded, encode
from nuguna.tokens.laid_out import end_token_ids
from nuguna.tokens.tokenizer import load_tokenizer
from tests.conftest import DEMO_MODEL

ENDS = end_token_ids(load_tokenizer(check_tokenizer(DEMO_MODEL)), None)
RULES = SplitRules(num_heldout=6, num_train=10_000, max_length=64, seed=1)


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return load_tokenizer(check_tokenizer(DEMO_MODEL))


def written(folder: Path, rows: list[tuple[str, str]]) -> str:
    path = folder / "pairs.tsv"
    path.write_text("question\tanswer\n" + "".join(f"{q}\t{a}\n" for q, a in rows), encoding="utf-8")
    return str(path)


def pairs(count: int = 60) -> list[tuple[str, str]]:
    return [(f"{i}번 약의 색은 무엇인가요?", f"{i}번 약은 {'빨강 파랑 노랑'.split()[i % 3]}입니다.") for i in range(count)]


def chosen(tokenizer: Any, folder: Path, rows: list[tuple[str, str]], rules: SplitRules = RULES) -> Chosen:
    return choose_or_recall(
        tokenizer, load_dataset(written(folder, rows)), rules, end_token_ids(tokenizer, None), folder / "tokens"
    )


def answers(tokenizer: Any, examples: Any) -> list[str]:
    return [tokenizer.decode([i for i, t in zip(e.ids, e.loss_mask, strict=True) if t]) for e in examples]


def test_every_row_is_trained_or_measured_and_none_is_both(tokenizer: Any, tmp_path: Path) -> None:
    found = chosen(tokenizer, tmp_path, pairs())
    trained, measured = (answers(tokenizer, found.train), answers(tokenizer, [e for _, e in found.drawn.heldout]))
    assert len(trained) == 54 and len(measured) == 6 and found.drawn.num_left == 0
    assert sorted(trained + measured) == sorted(f"{a}<|im_end|>" for _, a in pairs())


def test_the_order_of_the_file_does_not_matter_and_the_seed_does(tokenizer: Any, tmp_path: Path) -> None:
    first = chosen(tokenizer, tmp_path, pairs())
    shuffled = random.Random(0).sample(pairs(), 60)
    again, other = (chosen(tokenizer, tmp_path, shuffled), chosen(tokenizer, tmp_path, pairs(), SplitRules(6, 10_000, 64, 2)))
    assert list(again.train) == list(first.train)
    assert [c.turns for c, _ in again.drawn.heldout] == [c.turns for c, _ in first.drawn.heldout]
    assert [c.turns for c, _ in other.drawn.heldout] != [c.turns for c, _ in first.drawn.heldout]


def test_what_asks_the_same_stays_on_one_side(tokenizer: Any, tmp_path: Path) -> None:
    rows = [
        (q.replace("무엇인가요?", ending), f"{a} {i}")
        for i, (q, a) in enumerate(pairs(30))
        for ending in ("무엇인가요?", "뭐예요")
    ]
    found = chosen(tokenizer, tmp_path, rows)
    held = {question_key(c) for c, _ in found.drawn.heldout}
    assert len(found.drawn.heldout) == 6 and len(held) == 3
    texts = answers(tokenizer, found.train)
    for conversation, _ in found.drawn.heldout:
        assert f"{conversation.answer}<|im_end|>" not in texts
    assert len(texts) == 54


def test_a_slip_of_the_pen_does_not_carry_a_measured_question_into_training(tokenizer: Any, tmp_path: Path) -> None:
    names = [
        f"{a}{b}" for a in ("arno", "belu", "cavi", "delo", "emri") for b in ("stine", "quill", "vax", "form", "dol", "mycin")
    ]
    rows = [(f"What are the side effects of {name}?", name) for name in names]
    held = [c.answer for c, _ in chosen(tokenizer, tmp_path, rows).drawn.heldout]
    typos = [(f"What are the side effects of {name}s?", f"{name}, again") for name in held]
    found = chosen(tokenizer, tmp_path, rows + typos)
    trained = answers(tokenizer, found.train)
    for conversation, _ in found.drawn.heldout:
        name = conversation.answer.removesuffix(", again")
        assert not [text for text in trained if text.startswith(name)]
    assert found.drawn.counts.num_alike + len(found.train) + len(found.drawn.heldout) == len(rows + typos)
    assert found.drawn.counts.num_alike > 0


def test_only_as_many_as_the_run_will_see_are_encoded(tokenizer: Any, tmp_path: Path) -> None:
    found = chosen(tokenizer, tmp_path, pairs(), SplitRules(6, 10, 64, 1))
    assert len(found.train) == 10 and found.drawn.num_left == 44
    assert list(found.train) == list(chosen(tokenizer, tmp_path, pairs()).train[:10])


def test_what_does_not_fit_is_counted(tokenizer: Any, tmp_path: Path) -> None:
    rows = [*pairs(40), ("긴 답?", "아주 " * 200), ("긴 질문 " * 60 + "끝?", "짧은 답")]
    counts = chosen(tokenizer, tmp_path, rows).drawn.counts
    assert (counts.num_too_long, counts.num_cut, counts.num_rows) == (1, 1, 42)


def test_very_small_sets(tokenizer: Any, tmp_path: Path) -> None:
    one = chosen(tokenizer, tmp_path, pairs(1))
    assert list(one.train) == [e for _, e in one.drawn.heldout] and len(one.train) == 1
    two = chosen(tokenizer, tmp_path, pairs(2), SplitRules(1, 100, 64, 1))
    assert len(two.train) == len(two.drawn.heldout) == 1
    assert "only 2 rows" in str(two.drawn.notes[0])
    same = chosen(tokenizer, tmp_path, [("Translate.", f"word {i}") for i in range(30)])
    assert len(same.drawn.heldout) == 6 and len(same.train) == 24


def test_plain_text_is_cut_into_pieces_that_fit_and_nothing_is_lost(tokenizer: Any, tmp_path: Path) -> None:
    text = "".join(f"제{i}장. 이 약은 하루에 {i}번 먹습니다. 물과 함께 먹습니다.\n" for i in range(60))
    path = tmp_path / "book.jsonl"
    path.write_text('{"text": ' + repr(text).replace("'", '"') + "}", encoding="utf-8")
    dataset = load_dataset(str(path))
    ends = end_token_ids(tokenizer, None)
    found = encode_pairs(tokenizer, dataset.train, 64, ends, 10_000)
    assert "".join("".join(t.content for t in c.turns) for c, _ in found) == text.strip()
    assert all(len(e.ids) <= 64 and e.ids[-1] == tokenizer.eos_token_id for _, e in found)
    assert all(len(c.turns) == 2 and e.loss_mask[1:].all() for c, e in found)


def test_a_second_start_encodes_nothing_and_gives_the_same(
    tokenizer: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [*pairs(40), ("긴 답?", "아주 " * 200)]
    first = chosen(tokenizer, tmp_path, rows)
    monkeypatch.setattr(cache, "choose", lambda *args: pytest.fail("encoded again"))
    again = chosen(load_tokenizer(check_tokenizer(DEMO_MODEL)), tmp_path, rows)
    assert list(again.train) == list(first.train) and again.drawn == first.drawn
    (path,) = (tmp_path / "tokens").iterdir()
    assert path.stat().st_mode & 0o077 == 0  # another user's eyes: no


@pytest.mark.parametrize("changed", ["window", "seed", "template", "words", "ends"])
def test_whatever_changes_the_tokens_is_another_file(changed: str, tmp_path: Path) -> None:
    tokenizer = load_tokenizer(check_tokenizer(DEMO_MODEL))
    chosen(tokenizer, tmp_path, pairs())
    rules, ends, rows = RULES, end_token_ids(tokenizer, None), pairs()
    if changed == "window":
        rules = SplitRules(6, 10_000, 63, 1)
    elif changed == "seed":
        rules = SplitRules(6, 10_000, 64, 7)
    elif changed == "ends":
        ends |= {9}
    elif changed == "template":
        tokenizer.chat_template += " "
    else:
        rows[3] = (rows[3][0], "anders")
    choose_or_recall(tokenizer, load_dataset(written(tmp_path, rows)), rules, ends, tmp_path / "tokens")
    assert len(list((tmp_path / "tokens").iterdir())) == 2


@pytest.mark.parametrize("damage", [b"", b"nonsense", None])
def test_a_damaged_file_costs_time_and_nothing_else(damage: bytes | None, tokenizer: Any, tmp_path: Path) -> None:
    first = chosen(tokenizer, tmp_path, pairs())
    (path,) = (tmp_path / "tokens").iterdir()
    path.write_bytes(path.read_bytes()[:-40] if damage is None else damage)
    assert list(chosen(tokenizer, tmp_path, pairs()).train) == list(first.train)


def test_a_folder_that_cannot_be_written_costs_nothing_either(tokenizer: Any, tmp_path: Path) -> None:
    (tmp_path / "tokens").write_text("a file where a folder should be")
    assert len(chosen(tokenizer, tmp_path, pairs()).train) == 54


def test_what_was_used_longest_ago_makes_room(tokenizer: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chosen(tokenizer, tmp_path, pairs())
    (old,) = (tmp_path / "tokens").iterdir()
    monkeypatch.setattr(cache, "MAX_BYTES", old.stat().st_size + 100)
    import os

    os.utime(old, (1, 1))
    chosen(tokenizer, tmp_path, pairs(), SplitRules(6, 10_000, 64, 9))
    assert not old.exists() and len(list((tmp_path / "tokens").iterdir())) == 1


def test_what_does_not_fit_into_memory_goes_through_the_disk_and_comes_back_the_same(
    tokenizer: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    first = chosen(tokenizer, tmp_path, pairs())
    small = load_dataset(written(tmp_path, pairs()))
    monkeypatch.setattr(shelf, "MAX_CHARS_IN_MEMORY", 300)
    monkeypatch.setattr(tokens, "MAX_TOKENS_IN_MEMORY", 100)
    large = load_dataset(written(tmp_path, pairs()))
    assert list(large.train) == list(small.train) and large.train[-1] == small.train[-1]
    assert large.train[10:50:7] == small.train[10:50:7]
    with pytest.raises(IndexError):
        large.train[60]
    found = choose_or_recall(tokenizer, large, RULES, end_token_ids(tokenizer, None), tmp_path / "others")
    assert (
        list(found.train) == list(first.train) and found.train[-1] == first.train[-1] and found.train[3:9:2] == first.train[3:9:2]
    )
    assert all(isinstance(e, Encoded) and e.loss_mask.dtype == bool for e in found.train)
    assert [p.suffix for p in (tmp_path / "others").iterdir()] == [".arrow"]


def test_a_few_questions_with_very_many_answers_are_split_by_their_answers_and_that_is_said(
    tokenizer: Any, tmp_path: Path
) -> None:
    rows = [(["번역?", "요약?", "설명?"][i % 3], f"답 {i}") for i in range(90)]
    found = chosen(tokenizer, tmp_path, rows)
    trained, held = answers(tokenizer, found.train), [f"{c.answer}<|im_end|>" for c, _ in found.drawn.heldout]
    assert len(held) == 6 and len(trained) == 84 and not set(trained) & set(held)
    assert any("few different questions" in str(note) for note in found.drawn.notes)


def test_what_a_datasets_own_part_for_measuring_asks_is_not_trained(tokenizer: Any, tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    parts = {"train": [*pairs(20), ("왜?", "그냥"), ("What is it?", "x")], "test": [("왜", "글쎄"), ("what is it", "y")]}
    for name, rows in parts.items():
        lines = "".join(f"{q}\t{a}\n" for q, a in rows)
        (tmp_path / "set" / f"{name}.tsv").write_text(f"question\tanswer\n{lines}", encoding="utf-8")
    dataset = load_dataset(str(tmp_path / "set"))
    found = choose_or_recall(tokenizer, dataset, RULES, end_token_ids(tokenizer, None), tmp_path / "tokens")
    assert len(found.train) == 20 and found.drawn.counts.num_alike == 2
    assert not {"그냥<|im_end|>", "x<|im_end|>"} & set(answers(tokenizer, found.train))


def test_rows_too_long_do_not_stand_before_the_others(tokenizer: Any, tmp_path: Path) -> None:
    """A short run would otherwise see almost nothing else, and be refused."""
    rows = [(q, a if i % 3 else "아주 " * 200) for i, (q, a) in enumerate(pairs(300))]
    found = chosen(tokenizer, tmp_path, rows, SplitRules(num_heldout=30, num_train=8, max_length=64, seed=1))
    counts = found.drawn.counts
    assert len(found.train) == 8 and counts.num_too_long < 0.5 * counts.num_rows
    whole = chosen(tokenizer, tmp_path, rows, SplitRules(num_heldout=30, num_train=10_000, max_length=64, seed=1))
    assert len(whole.train) + len(whole.drawn.heldout) + whole.drawn.counts.num_too_long == 300


def test_a_long_text_without_breaks_is_cut_in_short_time(tokenizer: Any, tmp_path: Path) -> None:
    import time

    path = tmp_path / "book.jsonl"
    path.write_text('{"text": "' + "이 약은 하루에 두 번 먹습니다. " * 12_000 + '"}', encoding="utf-8")
    began = time.perf_counter()
    found = encode_pairs(tokenizer, load_dataset(str(path)).train, 128, end_token_ids(tokenizer, None), 10_000)
    assert len(found) > 500 and time.perf_counter() - began < 20  # 2 s; all of the rest for each piece took minutes


def test_a_longer_form_of_a_measured_conversation_is_not_trained(tokenizer: Any, tmp_path: Path) -> None:
    """ShareGPT-like sets hold a conversation as often as it has rounds, each time one round longer."""
    rows = []
    for name in "간 폐 눈 귀 코 뇌 피 살 뼈 이".split():
        said = [{"role": role, "content": f"{name} {role} {i}"} for i in range(3) for role in ("user", "assistant")]
        rows += [{"messages": said[:stop]} for stop in (2, 4, 6)]
    path = tmp_path / "growing.jsonl"
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    dataset = load_dataset(str(path))
    found = choose_or_recall(tokenizer, dataset, RULES, end_token_ids(tokenizer, None), tmp_path / "tokens")
    texts = [tokenizer.decode(example.ids) for example in found.train]
    for conversation, _ in found.drawn.heldout:
        whole = tokenizer.apply_chat_template(
            [{"role": t.role, "content": t.content} for t in conversation.turns], tokenize=False
        )
        assert not [text for text in texts if text.startswith(whole.strip())]
    assert found.drawn.counts.num_alike > 0
    assert found.drawn.counts.num_alike + len(found.train) + len(found.drawn.heldout) == 30


def test_of_a_datasets_own_part_for_measuring_rows_are_drawn_whatever_their_order(tokenizer: Any, tmp_path: Path) -> None:
    def measured(order: list[tuple[str, str]]) -> list[str]:
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        folder.mkdir()
        for name, rows in {"train": [(f"{i} 왜?", "글쎄") for i in range(9)], "test": order}.items():
            lines = "".join(f"{q}\t{a}\n" for q, a in rows)
            (folder / f"{name}.tsv").write_text(f"question\tanswer\n{lines}", encoding="utf-8")
        found = choose_or_recall(tokenizer, load_dataset(str(folder)), RULES, end_token_ids(tokenizer, None), folder / "tokens")
        return [c.answer for c, _ in found.drawn.heldout]

    first = measured(pairs())
    assert first == measured(random.Random(0).sample(pairs(), 60)) and first != [a for _, a in pairs()[:6]]


def test_a_row_that_the_template_refuses_does_not_undo_the_memory(
    tokenizer: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [*pairs(20), ("끝 표시?", "이것은 <|im_end|> 입니다")]
    first = chosen(tokenizer, tmp_path, rows)
    monkeypatch.setattr(cache, "choose", lambda *args: pytest.fail("encoded again"))
    again = chosen(tokenizer, tmp_path, rows)
    assert first.drawn.first_refusal is not None and again.drawn.first_refusal is not None
    assert str(again.drawn.first_refusal) == str(first.drawn.first_refusal) and again.drawn.counts.num_refused == 1


def test_a_question_a_little_too_long_loses_a_little_of_its_beginning(tokenizer: Any, tmp_path: Path) -> None:
    lines = "\n".join(f"{i}번째 줄은 이렇게 씁니다." for i in range(12))
    whole = encode_pairs(tokenizer, [Conversation((Turn("user", lines), Turn("assistant", "네.")), "f", 1)], 512, ENDS, 1)[0][1]
    conversation = Conversation((Turn("user", lines), Turn("assistant", "네.")), "f", 1)
    cut = encode_pairs(tokenizer, [conversation], len(whole.ids) - 3, ENDS, 1)[0][1]
    assert cut.cut and len(cut.ids) > len(whole.ids) - 20
    assert "\n11번째 줄은 이렇게 씁니다." in tokenizer.decode(cut.ids)  # its line breaks are still there
    blankless = Conversation((Turn("user", "가나다라마바사아자차카타파하" * 20), Turn("assistant", "네.")), "f", 1)
    assert encode_pairs(tokenizer, [blankless], 100, ENDS, 1)[0][1].num_trained > 0


def test_the_beginning_of_a_measured_conversation_is_not_trained_either(tokenizer: Any, tmp_path: Path) -> None:
    said = [{"role": role, "content": f"{i}번 {role} {n}"} for i in range(40) for n in range(3) for role in ("user", "assistant")]
    rows = [{"messages": said[6 * i : 6 * i + stop]} for i in range(40) for stop in (2, 4, 6)]
    path = tmp_path / "grow.jsonl"
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    found = choose_or_recall(tokenizer, load_dataset(str(path)), SplitRules(10, 10_000, 128, 3), ENDS, tmp_path / "tokens")
    trained = {part for text in answers(tokenizer, found.train) for part in text.split("<|im_end|>")}
    measured = [turn.content for c, _ in found.drawn.heldout for turn in c.turns if turn.role == "assistant"]
    assert len(measured) > 10 and not [answer for answer in measured if answer in trained]


def test_the_same_question_is_not_trained_even_where_all_are_alike(tokenizer: Any, tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    form = "다음 물건의 이름을 영어로 옮기고 뜻을 한 문장으로 설명해 주세요. 물건: {}"
    names = [f"물건{i}" for i in range(60)]
    for part, chosen_names, reply in (("train", names, "a"), ("test", names[:10], "b")):
        lines = "".join(f"{form.format(name)}\t{reply}\n" for name in chosen_names)
        (tmp_path / "set" / f"{part}.tsv").write_text(f"question\tanswer\n{lines}", encoding="utf-8")
    found = choose_or_recall(
        tokenizer, load_dataset(str(tmp_path / "set")), SplitRules(8, 10_000, 128, 1), ENDS, tmp_path / "tokens"
    )
    assert len(found.drawn.heldout) == 8 and found.drawn.counts.num_alike >= 8


def test_what_is_asked_above_a_long_text_is_kept(tokenizer: Any) -> None:
    question = "이 글에서 병의 이름은 무엇인가요?\n\n" + "환자는 기침이 심하고 숨이 찼다. " * 60
    conversation = Conversation((Turn("user", question), Turn("assistant", "천식.")), "f", 1)
    ((_, example),) = encode_pairs(tokenizer, [conversation], 128, ENDS, 1)
    text = tokenizer.decode(example.ids)
    assert example.cut and "병의 이름은 무엇인가요?" in text and len(example.ids) > 110


def test_a_run_notices_when_a_measured_example_is_trained(tokenizer: Any, tmp_path: Path) -> None:
    found = chosen(tokenizer, tmp_path, pairs())
    require_apart(found.train, found.drawn.heldout)
    leaked = [*found.train, found.drawn.heldout[2][1]]
    with pytest.raises(RuntimeError, match="among the trained ones"):
        require_apart(leaked, found.drawn.heldout)
    only = chosen(tokenizer, tmp_path, pairs(1))
    assert len(only.train) == len(only.drawn.heldout) == 1
    require_apart(only.train, only.drawn.heldout)  # there is nothing else, and the user was told


def test_many_rows_are_encoded_some_at_a_time_as_each_is_alone(
    tokenizer: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the tokenizer works on some, the next are laid out; whatever becomes of a row, its neighbours
    keep their tokens.
    """
    rows = [(q, a if i % 5 else "아주 " * 200 if i % 2 else "끝 <|im_end|> 표시") for i, (q, a) in enumerate(pairs(60))]
    conversations = load_dataset(written(tmp_path, rows)).train
    monkeypatch.setattr(choose_module, "AT_ONCE", 7)
    encoding = Encoding(tokenizer, 64, ENDS)
    found = list(encoding.usable(conversations))
    alone = [encode(tokenizer, row, 64, ENDS) for row in conversations if "<|im_end|>" not in row.answer]
    assert [example for _, example in found] == [example for example in alone if example.num_trained]
    assert [c.answer for c, _ in found] == [a for _, a in rows if "아주" not in a and "<|im_end|>" not in a]
    counts = encoding.counts
    assert (counts.num_rows, counts.num_too_long, counts.num_refused) == (60, 6, 6) and encoding.first_refusal is not None
    some = Encoding(tokenizer, 64, ENDS)
    assert [e for _, e in islice(some.usable(conversations), 20)] == [e for _, e in found[:20]]
    assert some.counts.num_rows < 30, "only what was taken is counted, however far the next rows are"
