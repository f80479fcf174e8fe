"""How good a model is, every figure with an interval."""
