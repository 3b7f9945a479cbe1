"""Modules of examples/paper/cardinality.py and paths.py."""
