"""Training loop of one trial: learner, batches, optimizer, checkpoints."""
