"""Reports of comparisons: HTML, tables and figures."""
