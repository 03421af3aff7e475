"""Inputs: from the object store into the job's own folder, byte for byte."""
