"""Old training configurations as trial files."""
