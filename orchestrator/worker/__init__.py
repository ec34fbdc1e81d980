"""Processes of a trial: the actor that Tune runs, the worker group behind it, and the ranks that they fork."""
