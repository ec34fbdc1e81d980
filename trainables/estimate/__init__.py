"""Estimates before training: cost of a phase, FLOPs, linear probe, explanation of a plan."""
