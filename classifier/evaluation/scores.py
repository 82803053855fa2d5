"""From trained models and pictures to the probability of each class."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import keras
import numpy as np
from numpy.typing import NDArray

from classifier.base.errors import UserError
from classifier.base.splits import Split
from classifier.evaluation.inference import (
    Inference,
    agreement,
    class_scores,
    compiled,
    in_batches,
    in_precision,
    mirrored,
)
from classifier.training.precision import dtype_policy
from classifier.transfer.backbone import cut
from classifier.transfer.features import frozen_features
from classifier.transfer.winograd import accelerated

JUDGED = ("validation", "test")  # what was chosen, and tested, on pictures not trained on


@dataclass(frozen=True)
class Seen:
    """What the models make of the pictures.

    Attributes:
        scores: by split (those of `JUDGED`) and model, float64 [n, k], rows sum to 1.
        features: by split, float32 [n, d], what one model's output layer is given.
        tested: by model, the precision that the scores were computed in.
    """

    scores: dict[str, dict[str, NDArray[np.float64]]]
    features: dict[str, NDArray[np.float32]]
    tested: dict[str, Inference]


def look(
    models: Mapping[str, keras.Model],
    splits: Mapping[str, Split],
    features_of: str,
    policy: str = "float32",
    frozen_up_to: Mapping[str, str] | None = None,
    *,
    flip: bool = False,
) -> Seen:
    """Pass pictures through each model, once.

    Args:
        models: by name.
        splits: train, validation and test.
        features_of: the model whose features are kept, of all splits.
        policy: the precision that the machine is fast at; a model whose calls it changes is passed
            in float32.
        frozen_up_to: by model, the last layer that its training never changed, up to which features
            are taken from .cache/features and kept there.
        flip: scores are the means over each picture and its mirror image; features stay its own.

    Raises:
        UserError: what a model gives is not finite.
    """
    seen = Seen({name: {} for name in JUDGED}, {}, {})
    validation = splits["validation"]
    # As fine-tuning counts them: what a frozen layer gives is kept for one form of the layer.
    pictures = len(splits["train"]) + len(validation)
    for model_name, model in models.items():
        wanted = list(splits) if model_name == features_of else JUDGED
        passing = partial(
            _passing,
            model,
            pictures=pictures,
            cut_at=(frozen_up_to or {}).get(model_name),
            features=model_name == features_of,
            flip=flip,
        )
        run = passing(policy)
        passed = {"validation": run(validation, f"{model_name}, validation")}
        found = class_scores(passed["validation"][0])
        whole = mirrored(model) if flip else model
        tested = agreement(whole, policy, validation.images, found)
        if tested.policy != policy:
            run, passed = passing(tested.policy), {}
        seen.tested[model_name] = tested
        for name in wanted:
            parts = passed.get(name) or run(splits[name], f"{model_name}, {name}")
            if not all(np.isfinite(part).all() for part in parts):
                raise UserError(
                    f"{model_name} diverged in training: its scores are not finite; lower its "
                    "learning rate and dvc repro"
                )
            if name in JUDGED:
                seen.scores[name][model_name] = class_scores(parts[0])
            if model_name == features_of:
                seen.features[name] = parts[1]
    return seen


def _passing(
    model: keras.Model,
    policy: str,
    *,
    pictures: int,
    cut_at: str | None,
    features: bool,
    flip: bool,
) -> Callable[[Split, str], list[NDArray]]:
    """How to pass pictures: scores, and what the last layer is given where it is wanted."""
    with dtype_policy(policy):
        rest = accelerated(in_precision(model, policy), pictures)
        if cut_at:
            frozen, rest = cut(rest, cut_at)
    # A large network's pass over the pictures is what evaluation waits for: whatever else is wanted
    # of it comes from the same pass.
    made = rest.outputs[0]._keras_history  # Keras has no public name for the edges of a graph
    kept = made.operation._inbound_nodes[made.node_index].input_tensors if features else []
    run = compiled(keras.Model(rest.inputs, [rest.outputs[0], *kept]))

    def once(split: Split, title: str, mirror: bool = False) -> list[NDArray]:
        images = split.images[:, :, ::-1] if mirror else split.images
        inputs = frozen_features(frozen, split, mirror=mirror) if cut_at else images
        return in_batches(run, inputs, title)

    def passing(split: Split, title: str) -> list[NDArray]:
        outputs, *others = once(split, title)
        if flip:
            outputs = (outputs + once(split, f"{title}, mirrored", mirror=True)[0]) / 2
        return [outputs, *others]

    return passing
