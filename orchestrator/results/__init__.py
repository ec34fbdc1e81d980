"""Winner of a run: export, evaluation and kept weights, without Ray."""
