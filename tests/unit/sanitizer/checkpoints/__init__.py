"""The room that opens hostile checkpoints."""
