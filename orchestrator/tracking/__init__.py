"""Trackers and observers of a sweep: W&B, TensorBoard, notification."""
