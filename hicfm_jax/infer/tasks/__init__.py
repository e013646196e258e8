"""Inference tasks over whole maps."""
