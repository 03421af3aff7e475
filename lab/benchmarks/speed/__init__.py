"""A straightforward reading of the research recipe against ours, on one machine: a part of `make gpu`."""
