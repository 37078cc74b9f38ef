"""The files that `tests/data/test_corpus.py` reads: what people bring, whole and damaged, each with the
verdict it deserves.

They are made anew for each session of tests, the same bytes each time; git keeps `expected.json` alone. What
a file means stands beside it in these modules, written by hand: it is never taken from the code that is
tested.
"""
