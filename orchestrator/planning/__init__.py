"""Forecast of the cost of a sweep (`thaw plan`)."""
