"""Shared vocabulary: recipe, attacks, policy, report, measures, progress, errors. No torch, no network."""
