"""Choice of the next point and of the trials to stop, without Ray."""
