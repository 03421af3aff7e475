"""Trains a checkpoint with a method: optimizer, schedule, one step, the loop, resumable state."""
