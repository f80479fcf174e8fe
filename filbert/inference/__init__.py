"""Texts in, predictions out: the engine, its scorers, and rows of a file."""
