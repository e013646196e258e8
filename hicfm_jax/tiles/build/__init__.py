"""From contact maps to tile datasets on disk."""
