"""Checkpoint folders: arrays, metadata and checksums."""
