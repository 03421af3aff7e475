"""Tests of app/queue."""
