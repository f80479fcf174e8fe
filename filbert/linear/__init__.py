"""Linear models on hashed features: the baseline, and the first stage of a cascade."""
