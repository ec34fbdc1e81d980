"""Trackers and observers of a sweep: W&B, TensorBoard, MLflow, notification."""
