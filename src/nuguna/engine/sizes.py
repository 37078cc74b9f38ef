"""Sizes that the engine works with and the planner counts with; no torch here, so that planning is instant."""

from __future__ import annotations

# Rows of queries that go through together. Measured on two cores (docs/log.md): 64 and 128 alike, 256 a fifth to a half
# slower, since a block's scores no longer fit the cache and more of them are above the diagonal. On a GPU few large products win
# (assumed).
BLOCK_ROWS = {"cpu": 128, "mps": 512, "cuda": 512}
# The softmax of documents up to this length is kept for the backward pass, two bytes for each pair of tokens and head, for a
# seventh of the attention's time (docs/log.md). Longer ones compute it again.
KEPT_LENGTH = {"cpu": 256, "mps": 256, "cuda": 0}
# Of logits at once, in the model's dtype. Each chunk reads the whole head: an eighth of this made the loss half as slow again
# (docs/log.md).
CHUNK_BYTES = 64 * 2**20
# Of float32 softmax at once: on a processor it stays in the cache, and no float32 copy of a chunk is ever there.
SOFTMAX_BYTES = {"cpu": 4 * 2**20, "mps": 64 * 2**20, "cuda": 64 * 2**20}
