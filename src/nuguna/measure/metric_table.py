"""What each number of a report is called, and what it means to someone who has never heard of it."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ..message import Message, say

METRIC_NAMES: dict[str, Message] = {
    "loss": say("loss on held-out answers"),
    "perplexity": say("perplexity"),
    "rouge_1": say("ROUGE-1 (words)"),
    "rouge_2": say("ROUGE-2 (pairs of words)"),
    "rouge_l": say("ROUGE-L (words in order)"),
    "bleu": say("BLEU"),
    "chrf": say("chrF"),
    "key_terms": say("right key terms, %"),
    "choice_accuracy": say("right choices by likelihood, %"),
    "choice_accuracy_norm": say("right choices by likelihood a character, %"),
    "exact_match": say("right word for word, %"),
    "word_f1": say("words in common"),
    "stop_rate": say("answers that end by themselves"),
    "answer_words": say("words in an answer"),
    "repetition": say("said again in the same answer, %"),
    "same_language": say("in the language of the question, %"),
}


@dataclass(frozen=True)
class Measure:
    """A metric as people read it."""

    name: str
    technical: str  # what papers call it; the same in every language
    title: Message
    meaning: Message
    higher_is_better: bool | None = True  # None: neither is
    percent_of: float | None = None  # the value that is 100 %; None: no upper bound
    unit: str = ""
    decimals: int = 1

    def show(self, value: float | None, *, signed: bool = False) -> str:
        """As people read it; what was not measured, or is not a number, is a dash."""
        if value is None or not math.isfinite(value):
            return "—"
        if self.percent_of == 1:
            value *= 100
        sign = "+" if signed and value > 0 else ""
        if abs(value) >= 1e6:
            return f"{sign}{value:.1e}"
        return f"{sign}{value:,.{0 if abs(value) >= 1000 else self.decimals}f}{self.unit}"


MEASURES = (
    Measure(
        "rouge_l",
        "ROUGE-L",
        say("Like the right answer"),
        say("How many words the answer shares with the right answer, in the same order. 100 is word for word; 0 is nothing."),
        percent_of=100,
    ),
    Measure(
        "key_terms",
        "",
        say("Key terms said"),
        say("Of the terms that a right answer must contain, how many the answer really names."),
        percent_of=100,
        unit=" %",
    ),
    Measure(
        "choice_accuracy",
        "accuracy",
        say("Right choices"),
        say("How often the model finds the right option more likely than all others."),
        percent_of=100,
        unit=" %",
    ),
    Measure(
        "choice_accuracy_norm",
        "accuracy, normalized",
        say("Right choices, whatever their length"),
        say("The same by likelihood a character, so that short options have no advantage."),
        percent_of=100,
        unit=" %",
    ),
    Measure(
        "stop_rate",
        "",
        say("Ends by itself"),
        say("How many answers came to an end by themselves instead of being cut off at the length limit."),
        percent_of=1,
        unit=" %",
        decimals=0,
    ),
    Measure(
        "loss",
        "loss",
        say("Surprise"),
        say("How much the right answers surprise the model. This is what training pushes down."),
        higher_is_better=False,
        decimals=3,
    ),
    Measure(
        "chrf",
        "chrF",
        say("Same letters"),
        say("How many short runs of letters are the same. Fair to Korean, where endings change the words."),
        percent_of=100,
    ),
    Measure(
        "bleu",
        "BLEU",
        say("Same phrases"),
        say("How many runs of up to four words are the same as in the right answer. Strict: even good answers seldom reach 100."),
        percent_of=100,
    ),
    Measure(
        "rouge_1",
        "ROUGE-1",
        say("Same words"),
        say("How many words the answer shares with the right answer, in any order."),
        percent_of=100,
    ),
    Measure(
        "rouge_2",
        "ROUGE-2",
        say("Same pairs of words"),
        say("How many pairs of neighbouring words the answer shares with the right answer."),
        percent_of=100,
    ),
    Measure(
        "word_f1",
        "F1",
        say("Words in common"),
        say("Of the words of both answers, how many the other one has too, however often and in whatever order."),
        percent_of=100,
    ),
    Measure(
        "exact_match",
        "EM",
        say("Word for word"),
        say("How many answers are the right answer, word for word. Only short answers can be."),
        percent_of=100,
        unit=" %",
    ),
    Measure(
        "perplexity",
        "perplexity",
        say("Hesitation"),
        say("Among about how many pieces of words the model wavers each time. 1 would be no doubt at all."),
        higher_is_better=False,
    ),
    Measure(
        "repetition",
        "",
        say("Says things again"),
        say("How many runs of four words stood in the same answer before."),
        higher_is_better=False,
        percent_of=100,
        unit=" %",
    ),
    Measure(
        "same_language",
        "",
        say("In the question's language"),
        say("How many answers are in the language in which the question was asked."),
        percent_of=100,
        unit=" %",
    ),
    Measure(
        "answer_words",
        "",
        say("Length"),
        say("How many words an answer has."),
        higher_is_better=None,
    ),
)


def measure_named(name: str) -> Measure:
    """The measure of a metric in report.json."""
    return next(measure for measure in MEASURES if measure.name == name)
