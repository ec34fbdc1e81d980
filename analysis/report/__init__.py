"""Report of a run: what its trials say about the settings, as figures."""
