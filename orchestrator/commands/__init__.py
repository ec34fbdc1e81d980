"""Commands by purpose: setup, sweeps, one trial, results."""
