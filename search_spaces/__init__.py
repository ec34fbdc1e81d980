"""What may vary in a sweep: domains, conditions between them, presets. Imports nothing heavy."""
