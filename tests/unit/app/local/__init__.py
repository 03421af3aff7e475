"""Tests of unit/app/local: see the modules."""
