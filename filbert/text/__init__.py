"""Texts: WordPiece ids and back."""
