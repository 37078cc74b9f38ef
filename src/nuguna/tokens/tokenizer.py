"""Load a tokenizer, and make sure that it splits text the way its own file says."""

from __future__ import annotations

import os
import sys
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import transformers
from tokenizers import Tokenizer as FileTokenizer
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from ..base_models.checked import CheckedTokenizer, check_tokenizer, has_changed
from ..errors import ModelError, first_line
from ..message import say
from .laid_out import begins_texts
from .template import default_template, is_thinking_fixed, with_fixed_date, with_thinking
from .tokenizer_protocol import Tokenizer

FILE = "tokenizer.json"
# digits, contractions, blanks and line breaks in rows, Hangul with particles: where the rules for splitting
# text differ
_PROBE = "It's 2024년 12월 31일: 고혈압의 증상은\n\n  1234567 x3  HELLO naïve...\t끝!? don't"


def load_tokenizer(checked: CheckedTokenizer) -> Tokenizer:
    """Return the tokenizer of a model or run folder; one without a chat template gets the documented default
    (docs/templates.md).
    """
    if has_changed(checked):
        checked = check_tokenizer(checked.folder)
    folder = checked.folder
    with _sentences(folder):
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        if not splits_as_its_file_says(tokenizer, folder):
            tokenizer = PreTrainedTokenizerFast.from_pretrained(folder, local_files_only=True)
    if isinstance(tokenizer.chat_template, dict):  # several by name: for tools, for retrieval
        tokenizer.chat_template = tokenizer.chat_template.get("default")
    if not tokenizer.chat_template:
        tokenizer.chat_template = default_template(tokenizer.bos_token if begins_texts(tokenizer) else "")
    elif not is_thinking_fixed(tokenizer.chat_template):  # a run folder says how it was trained
        tokenizer.chat_template = with_thinking(with_fixed_date(tokenizer.chat_template), is_on=False)
    if tokenizer.pad_token_id is None:
        # Only fills the left of shorter prompts; padding is masked and never trained, so the end token stays
        # learnable.
        tokenizer.pad_token = tokenizer.eos_token
    ready: Tokenizer = tokenizer
    return ready


@contextmanager
def _sentences(folder: Path) -> Iterator[None]:
    """A file that libraries cannot read ends in one sentence. The tokenizers library raises a bare
    `Exception` for it, or panics as Rust does: that Python sees as a `BaseException`, and its own long
    account on standard error is held back.
    """
    try:
        with _held_back():
            yield
    except BaseException as error:
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        raise ModelError(
            say("The tokenizer in {folder} cannot be loaded.", folder=folder),
            seen=say("{reason}", reason=first_line(error)),
            fix=say("Download the model again, or choose another one: MODEL=demo"),
        ) from error


@contextmanager
def _held_back() -> Iterator[None]:
    """Keep what is written on standard error meanwhile, by other languages too; it comes out at the end,
    unless Rust panicked.
    """
    try:
        kept = os.dup(2)
    except OSError:  # a program without standard error
        yield
        return
    is_told = True
    with tempfile.TemporaryFile() as file:
        sys.stderr.flush()
        os.dup2(file.fileno(), 2)
        try:
            yield
        except BaseException as error:
            is_told = isinstance(error, Exception)
            raise
        finally:
            sys.stderr.flush()
            os.dup2(kept, 2)
            os.close(kept)
            file.seek(0)
            if is_told and (text := file.read()):
                sys.stderr.write(text.decode("utf-8", "replace"))


def splits_as_its_file_says(tokenizer: Tokenizer, folder: Path) -> bool:
    """Return whether the tokenizer gives the tokens of the folder's tokenizer.json.

    transformers 5 chooses a class by the model's type, and some of these put rules of their own in place of
    the file's: the model would then read tokens that it never learned, without any error
    (https://github.com/huggingface/transformers/issues/45920; in 5.23 still so for Qwen2 models with a
    vocabulary of their own). The general class keeps to the file.
    """
    file = folder / FILE
    if not file.is_file():
        return True
    plain = FileTokenizer.from_file(str(file))
    plain.no_padding()  # the file may ask for any length; transformers overrules that as well
    plain.no_truncation()
    expected = plain.encode(_PROBE, add_special_tokens=False).ids
    return bool(tokenizer(_PROBE, add_special_tokens=False)["input_ids"] == expected)


def silence_libraries() -> None:
    """Keep other libraries' progress bars and advice off our screen; their errors still reach us as
    exceptions.
    """
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")  # said aloud, so that a fork brings no warning
    # one library telling another; nothing a user could act on
    warnings.filterwarnings("ignore", category=FutureWarning)
    warnings.filterwarnings("ignore", module="bitsandbytes")
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
