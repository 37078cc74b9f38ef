"""From a file a person has to batches of tokens: read → conversation → encode → batch."""
