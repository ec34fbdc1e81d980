"""Sweeps from start to end on a cluster: run, resume, extend, retrain."""
