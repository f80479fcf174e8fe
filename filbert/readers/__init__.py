"""From files to Examples, and from corpora to documents."""
