"""Data of pre-training: shards of token ids, and the texts of an epoch."""
