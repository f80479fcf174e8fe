"""The training loop and what it stands on: optimizer, schedule, checkpoints, log; it knows no task."""
