"""From labelled texts to a finished run folder."""
