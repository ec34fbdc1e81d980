"""W&B: its tracker, its tables and artifacts, its pages, and what is read back from it."""
