"""The families: the models that are compared, and the networks that train.arch chooses from.

Both are known here by name alone, so that a wrong one is told before anything heavy is imported.
"""

# A model is what a training stage leaves in data/models/NAME.keras. To add one, write its stage and
# name it here; evaluation, report, charts, compare, predict and demo take any number of them, in
# this order.
MODELS = ("baseline", "augmented", "vgg16", "mobilenet")
# The models' colours in their order: Tableau's, which people who see few colours tell apart best.
PALETTE = (
    *("#4c78a8", "#f58518", "#54a24b", "#e45756", "#72b7b2"),
    *("#b279a2", "#eeca3b", "#ff9da6", "#9d755d", "#bab0ac"),
)

# Each network and the smallest input that leaves it something to convolve, pixels. To add one,
# write classifier/networks/NAME.py with a function NAME in it, and name it here.
NETWORKS = {
    "cnn5": 78,
    "cnn3": 8,
    "cnn3_flowers": 8,
    "cnn2": 8,
    "cnn_002": 22,
    "xception_small": 8,
    "resnet_small": 31,
}
# Those whose weights do not depend on the size of their pictures: they average at their end.
OF_ANY_SIZE = ("resnet_small", "xception_small")


def colour(number: int) -> str:
    """Return the colour of a model, by its place among those that are shown."""
    return PALETTE[number % len(PALETTE)]
