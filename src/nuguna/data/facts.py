"""What the planner needs to know of a dataset, as numbers."""

from __future__ import annotations

from dataclasses import dataclass

DEMO = "demo"


@dataclass(frozen=True)
class DataFacts:
    """What planning needs to know about a dataset; made by `data.dataset`."""

    source: str
    num_examples: int
    num_heldout: int  # given apart by the dataset itself; 0: the run sets some aside
    mean_chars: float  # characters of one example, all turns together
    max_chars: int
    # of examples, the middle of each of some equal shares, from the shortest on
    quantile_chars: tuple[int, ...]
    has_korean: bool
    num_unseen: int = 0  # measured too, on subjects that training does not contain
