"""Processes of a trial: the actor that Tune runs, and the worker group behind it."""
