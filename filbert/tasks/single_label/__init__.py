"""One label a text."""
