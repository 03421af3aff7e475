"""Tests of the benchmarks: that both sides do the same work, and that pages are kept."""
