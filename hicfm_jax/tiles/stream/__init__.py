"""Streams of batches from stored tiles."""
