"""What examples/detection/train.py trains on, and what with."""
