"""What pre-training reads: shards of token ids, and the texts of an epoch."""
