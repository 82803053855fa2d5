"""Scores, figures and their intervals, comparisons, explanations; for the stage evaluate."""
