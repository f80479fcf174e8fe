"""Texts: WordPiece vocabulary and tokenizer, sentences, Chinese words."""
