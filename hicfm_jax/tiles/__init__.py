"""Contact maps as tiles: cut, stored, and streamed as batches."""
