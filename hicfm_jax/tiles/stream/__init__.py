"""From tile datasets to batches."""
