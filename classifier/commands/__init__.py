"""What `python -m classifier` does beside the stages; no stage depends on it."""
