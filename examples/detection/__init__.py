"""Modules of examples/detection/train.py."""
