"""Contact maps cut into tiles, stored, and streamed as batches."""
