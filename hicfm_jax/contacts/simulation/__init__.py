"""Simulated contact maps, and loops planted in maps."""
