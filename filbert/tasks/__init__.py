"""Tasks: one file each, five verbs in one order — features, head, loss, decode, score."""
