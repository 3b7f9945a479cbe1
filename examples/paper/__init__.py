"""What examples/paper/cardinality.py compares, and what came of it."""
