"""The one table of metrics: what each is called, what it means to someone who has never heard of it, and how
it may be compared.

Screens, pages, the card, the guides in docs/ and the ranking of runs all read it. To add a metric, compute it
in `scores` or `answers` under the name of its row here.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from ..message import Message, say

DIRECTIONS = {
    True: say("Higher is better."),
    False: say("Lower is better."),
    None: say("Neither more nor less is better."),
}


@dataclass(frozen=True, kw_only=True)
class Metric:
    """One row: a metric under its name in report.json."""

    name: str
    label: Message  # on the screen
    title: Message  # on the pages
    meaning: Message
    caution: Message | None = None  # when to distrust it; the guide has it
    technical: str = ""  # what papers call it; the same in every language
    page_place: int  # on the pages, where what says most comes first
    higher_is_better: bool | None = True  # None: neither is
    percent_of: float | None = None  # the value that is 100 %; None: no upper bound
    unit: str = ""  # on the pages
    decimals: int = 1  # on the pages
    is_main: bool = False  # a run shows it on the screen; the report has all
    # report.json keeps the sum and the count of each question, so that runs are compared one by one
    ranks_runs: bool = False
    # what results must share: how texts became words; the model's tokens
    depends_on: Literal["", "words", "tokens"] = ""
    only_for: Message | None = None  # the data that has it; None: every run has it

    @property
    def direction(self) -> Message:
        """Return whether more is better, as a sentence."""
        return DIRECTIONS[self.higher_is_better]

    def show(self, value: float | None, *, signed: bool = False) -> str:
        """Return a value as the pages show it; what was not measured, or is not a number, is a dash."""
        if value is None or not math.isfinite(value):
            return "—"
        if self.percent_of == 1:
            value *= 100
        sign = "+" if signed and value > 0 else ""
        if abs(value) >= 1e6:
            return f"{sign}{value:.1e}"
        return f"{sign}{value:,.{0 if abs(value) >= 1000 else self.decimals}f}{self.unit}"


_OTHER_WORDS = say(
    "A right answer can be worded differently: a good answer can score low, and a wrong one with the same "
    "words high."
)
_OTHER_TOKENS = say(
    "Models with different tokenizers cannot be compared: their tokens are not the same pieces."
)
_GUESSING = say("With four options, blind guessing gets 25.")
_CHOICES = say("Only for multiple choice.")

# In the order of screens and guides.
METRICS = (
    Metric(
        name="loss",
        label=say("loss on held-out answers"),
        title=say("Surprise"),
        meaning=say("How much the right answers surprise the model. This is what training pushes down."),
        caution=_OTHER_TOKENS,
        technical="loss",
        page_place=60,
        higher_is_better=False,
        decimals=3,
        is_main=True,
        ranks_runs=True,
        depends_on="tokens",
    ),
    Metric(
        name="perplexity",
        label=say("perplexity"),
        title=say("Hesitation"),
        meaning=say(
            "Between roughly how many word pieces the model hesitates each time. 1 would be no doubt at all."
        ),
        caution=_OTHER_TOKENS,
        technical="perplexity",
        page_place=130,
        higher_is_better=False,
        is_main=True,
        depends_on="tokens",
    ),
    Metric(
        name="rouge_1",
        label=say("ROUGE-1 (words)"),
        title=say("Same words"),
        meaning=say("How many words the answer shares with the right answer, in any order."),
        caution=_OTHER_WORDS,
        technical="ROUGE-1",
        page_place=90,
        percent_of=100,
        depends_on="words",
    ),
    Metric(
        name="rouge_2",
        label=say("ROUGE-2 (pairs of words)"),
        title=say("Same word pairs"),
        meaning=say("How many pairs of neighbouring words the answer shares with the right answer."),
        caution=_OTHER_WORDS,
        technical="ROUGE-2",
        page_place=100,
        percent_of=100,
        depends_on="words",
    ),
    Metric(
        name="rouge_l",
        label=say("ROUGE-L (words in order)"),
        title=say("Similar to the right answer"),
        meaning=say(
            "How many words the answer shares with the right answer, in the same order. 100 is word for "
            "word; 0 is nothing in common."
        ),
        caution=_OTHER_WORDS,
        technical="ROUGE-L",
        page_place=10,
        percent_of=100,
        is_main=True,
        ranks_runs=True,
        depends_on="words",
    ),
    Metric(
        name="bleu",
        label=say("BLEU"),
        title=say("Same phrases"),
        meaning=say(
            "How many sequences of up to four words are the same as in the right answer. Strict: even good "
            "answers seldom reach 100."
        ),
        caution=say(
            "It was made for translations: where answers are short or open, even good ones seldom reach 30."
        ),
        technical="BLEU",
        page_place=80,
        percent_of=100,
        is_main=True,
        depends_on="words",
    ),
    Metric(
        name="chrf",
        label=say("chrF"),
        title=say("Same letters"),
        meaning=say(
            "How many short sequences of letters are the same. Fair to Korean, where endings change the "
            "words."
        ),
        caution=say("It is never 0 for texts in the same script: 15 to 20 may mean nothing."),
        technical="chrF",
        page_place=70,
        percent_of=100,
        is_main=True,
    ),
    Metric(
        name="key_terms",
        label=say("right key terms, %"),
        title=say("Key terms mentioned"),
        meaning=say("Of the terms that a right answer must contain, how many the answer mentions."),
        caution=say("An answer can name the term and say the opposite."),
        page_place=20,
        percent_of=100,
        unit=" %",
        is_main=True,
        only_for=say("Only for data that lists them, in the column terms."),
    ),
    Metric(
        name="choice_accuracy",
        label=say("right choices by likelihood, %"),
        title=say("Right choices"),
        meaning=say("How often the model finds the right option more likely than all others."),
        caution=_GUESSING,
        technical="accuracy",
        page_place=30,
        percent_of=100,
        unit=" %",
        ranks_runs=True,
        only_for=_CHOICES,
    ),
    Metric(
        name="choice_accuracy_norm",
        label=say("right choices by likelihood per character, %"),
        title=say("Right choices, whatever their length"),
        meaning=say("The same by likelihood per character, so that short options have no advantage."),
        caution=_GUESSING,
        technical="accuracy, normalized",
        page_place=40,
        percent_of=100,
        unit=" %",
        only_for=_CHOICES,
    ),
    Metric(
        name="exact_match",
        label=say("right word for word, %"),
        title=say("Word for word"),
        meaning=say("How many answers match the right answer word for word. Only short answers can."),
        caution=say("Where answers are sentences it is 0, and means nothing."),
        technical="EM",
        page_place=120,
        percent_of=100,
        unit=" %",
        depends_on="words",
    ),
    Metric(
        name="word_f1",
        label=say("words in common"),
        title=say("Words in common"),
        meaning=say(
            "Of the words in both answers, how many the other one has too, no matter how often or in what "
            "order."
        ),
        caution=say("It is meant for short answers with one right form, such as a number or a name."),
        technical="F1",
        page_place=110,
        percent_of=100,
        depends_on="words",
    ),
    Metric(
        name="stop_rate",
        label=say("answers that end on their own"),
        title=say("Ends on its own"),
        meaning=say("How many answers ended on their own instead of being cut off at the length limit."),
        caution=say("It says nothing where right answers are longer than the limit of 256 tokens."),
        page_place=50,
        percent_of=1,
        unit=" %",
        decimals=0,
        is_main=True,
    ),
    Metric(
        name="answer_words",
        label=say("words in an answer"),
        title=say("Length"),
        meaning=say("How many words an answer has."),
        page_place=160,
        higher_is_better=None,
        depends_on="words",
    ),
    Metric(
        name="repetition",
        label=say("repeated within the same answer, %"),
        title=say("Repeats itself"),
        meaning=say("How many four-word sequences already occurred in the same answer."),
        caution=say("Above 10 % a model is going round in circles, unless its answers are lists or tables."),
        page_place=140,
        higher_is_better=False,
        percent_of=100,
        unit=" %",
        depends_on="words",
    ),
    Metric(
        name="same_language",
        label=say("in the language of the question, %"),
        title=say("In the language of the question"),
        meaning=say("How many answers are in the language in which the question was asked."),
        caution=say(
            "It goes by the letters of both, so it says nothing about answers that are only names and "
            "numbers."
        ),
        page_place=150,
        percent_of=100,
        unit=" %",
    ),
)
ON_PAGES = tuple(sorted(METRICS, key=lambda metric: metric.page_place))
_BY_NAME = {metric.name: metric for metric in METRICS}


def metric_named(name: str) -> Metric:
    """Return the row of a metric in report.json. Raise `KeyError` for a name that no metric has."""
    return _BY_NAME[name]
