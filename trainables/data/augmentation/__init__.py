"""Augmentation of batches of images on the trial's device."""
