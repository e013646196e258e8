"""Building tile datasets from contact maps."""
