"""Text files with one contact or pixel per line: their layouts and their parser."""
