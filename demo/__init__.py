"""The demo: makes a really poisoned CLIP and has the running service clean it, as a customer would."""
