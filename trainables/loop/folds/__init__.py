"""Cross-validation of heads: one head per fold, and what they measure together."""
