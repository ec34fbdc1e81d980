"""How one trial runs, and the model it makes. Knows nothing of Ray, Optuna or W&B."""
