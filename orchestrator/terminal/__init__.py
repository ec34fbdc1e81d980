"""Output for terminals: tables, live view, event log."""
