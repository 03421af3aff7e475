"""What a checkpoint does, measured: zero-shot accuracy, attack success, intervals, verdict."""
