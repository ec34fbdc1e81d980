"""Search spaces: domains, conditions between them, presets. Imports nothing heavy."""
