"""Comparisons of trials: two of a run, the winner with its linear probe, finalists over several seeds."""
