"""What trained models are worth; for the stage evaluate, `predict` and `report`.

Scores of pictures are in `scores`, figures (the confusion matrix among them, which `report` draws)
in `figures`, their intervals in `intervals`, pairs of models in `comparison`, what details.json
holds in `details`, the rows behind the charts in `curves`.
"""
