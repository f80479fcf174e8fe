"""A finished model for other runtimes: written, measured beside the model, kept only where it answers alike."""
