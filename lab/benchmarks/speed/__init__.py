"""docs/performance.md: a straightforward reading of the research recipe against ours, on one machine."""
