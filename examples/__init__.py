"""Examples: single files to copy, and folders that run by themselves."""
