"""The pure ML library: reads, audits and cleans CLIP checkpoints. Knows nothing of the service."""
