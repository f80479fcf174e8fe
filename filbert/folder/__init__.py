"""The model folder: its layout, what is checked, opened and saved."""
