"""Linear models on hashed features: the baseline, and the cascade in front of BERT."""
