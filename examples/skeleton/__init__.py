"""What the training scripts share: command line, run folder, loop, resume."""
