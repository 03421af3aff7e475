"""The study of poisoned SigLIPs."""
