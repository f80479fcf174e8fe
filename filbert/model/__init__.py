"""The model: BERT over packed tokens."""
