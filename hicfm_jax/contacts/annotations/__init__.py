"""Regions, tracks and loops along a genome, and their files."""
