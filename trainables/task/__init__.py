"""Tasks: targets, loss, metrics, predictions and export of one kind of output."""
