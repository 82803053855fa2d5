"""This project against the tutorial way, side by side on one machine; no stage depends on it."""
