"""The commands, by the person who types them: setting up, sweeping, one trial, results."""
