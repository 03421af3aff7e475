"""Tests of unit/app/storage: see the modules."""
