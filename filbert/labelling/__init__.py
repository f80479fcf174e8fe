"""Labelling by hand: which text to ask about next, what was answered, and the page that asks."""
