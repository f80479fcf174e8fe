"""The training loop and what it needs: optimizer, schedule, checkpoints, training log. It knows no task."""
