"""The families: the models that are compared, and the networks that train.arch chooses from.

Both are known here by name alone, so that a wrong one is told before anything heavy is imported.
"""

# A model is what a training stage leaves in data/models/NAME.keras. To add one, write its stage and
# name it here; evaluation, report, charts, compare, predict and demo take any number of them.
# The colours are those of Tableau 10, which most people who see few colours can tell apart.
COLOURS = {"baseline": "#4c78a8", "augmented": "#f58518", "vgg16": "#54a24b"}
MODELS = tuple(COLOURS)

# Each network and the smallest input that leaves it something to convolve, pixels. To add one,
# write classifier/networks/NAME.py with a function NAME in it, and name it here.
NETWORKS = {"cnn5": 78}
