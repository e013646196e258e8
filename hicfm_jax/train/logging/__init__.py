"""Files and screen lines that a training run writes."""
