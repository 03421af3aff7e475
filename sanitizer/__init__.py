"""The pure ML library: reads, audits and cleans CLIP checkpoints."""
