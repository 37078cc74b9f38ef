"""How many tokens the examples of a dataset have, guessed from their characters: no tokenizer is loaded to
plan.
"""

from __future__ import annotations

from ..base_models.catalog import BaseModel
from ..data.facts import DEMO, DataFacts

TEMPLATE_TOKENS = 24  # what a chat template adds to one question and answer, at most
USUAL_TEMPLATE_TOKENS = 16


def chars_per_token(base: BaseModel, facts: DataFacts) -> float:
    """Measured on the medical set and the two public sets in the tests: Korean 1.2 to 2.1, English 2.4 to
    4.5, by vocabulary.
    """
    small = base.shape.vocab_size < 16_000
    if small and facts.source == DEMO:
        return 3.2  # the demo model's own reading
    if facts.has_korean:
        return 1.5
    return 2.2 if small else 4.0


def longest_tokens(base: BaseModel, facts: DataFacts) -> int:
    """Return tokens of the longest example."""
    return int(facts.max_chars / chars_per_token(base, facts)) + TEMPLATE_TOKENS


def long_tokens(base: BaseModel, facts: DataFacts) -> int:
    """As many tokens as 95 of 100 examples have at most: what stands between the last two twentieths."""
    long_chars = sum(facts.quantile_chars[-2:]) / 2
    return int(long_chars / chars_per_token(base, facts)) + TEMPLATE_TOKENS


def mean_tokens(base: BaseModel, facts: DataFacts, length: int) -> float:
    """Return tokens of a middling example that is trained, when none may have more than `length`: most that
    are longer are left out.
    """
    fitting = _fitting(base, facts, length)
    if len(fitting) == len(facts.quantile_chars):
        return min(facts.mean_chars / chars_per_token(base, facts) + USUAL_TEMPLATE_TOKENS, length)
    return sum(fitting) / len(fitting) if fitting else length


def seen_tokens(base: BaseModel, facts: DataFacts, length: int) -> float:
    """Return tokens of the example that a middling token stands in, which is longer than a middling example:
    what attention costs.
    """
    fitting = _fitting(base, facts, length)
    return sum(number**2 for number in fitting) / sum(fitting) if fitting else length


def _fitting(base: BaseModel, facts: DataFacts, length: int) -> list[float]:
    tokens = [chars / chars_per_token(base, facts) + USUAL_TEMPLATE_TOKENS for chars in facts.quantile_chars]
    return [number for number in tokens if number <= length]
