"""Checkpoints from other servers: a process with the network and nothing else brings a source's bytes."""
