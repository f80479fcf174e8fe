"""Data: files of labelled texts in, Examples out."""
