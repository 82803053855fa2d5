"""From models and pictures to files; every figure again from predictions.csv by another path."""

import csv
import json
from itertools import pairwise

import keras
import numpy as np
import pandas as pd
import pytest
from scipy import optimize, stats
from sklearn import metrics as sk
from statsmodels.discrete.conditional_models import ConditionalLogit

from classifier.base.errors import UserError
from classifier.base.files import write_json
from classifier.base.params import positive_class
from classifier.base.splits import Split
from classifier.evaluation import scores as passes
from classifier.evaluation.curves import CHARTS, chart_rows
from classifier.evaluation.details import all_details
from classifier.evaluation.files import write_charts, write_predictions
from classifier.evaluation.inference import Inference
from classifier.evaluation.inference import scores as plain_scores
from classifier.evaluation.label_errors import find_label_errors
from classifier.evaluation.scores import Seen, look
from classifier.networks.cnn5 import cnn5

CLASSES = {2: ("cats", "dogs"), 4: ("a", "b", "c", "d,\"'")}


def made_split(n: int, classes: tuple[str, ...], seed: int, size: int = 4) -> Split:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, len(classes), n)
    labels[: 2 * len(classes)] = np.repeat(range(len(classes)), 2)
    images = rng.integers(0, 256, (n, size, size, 3), np.uint8)
    return Split(images, labels, [f"folder, {seed}/{i}.jpg" for i in range(n)], classes)


def made_scores(split: Split, strength: float, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(len(split), len(split.classes)))
    logits[np.arange(len(split)), split.labels] += strength
    powers = np.exp(2 * logits)
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def charts_of(splits, seen, details):
    test = splits["test"]
    temperatures = {name: one["temperature"] for name, one in details["models"].items()}
    return chart_rows(test.labels, seen.scores["test"], test.classes, temperatures)


@pytest.fixture(scope="module", params=[2, 4])
def judged(request, tmp_path_factory):
    """Splits, details and the folder that everything was written to."""
    classes = CLASSES[request.param]
    splits = {
        name: made_split(n, classes, seed)
        for seed, (name, n) in enumerate([("train", 40), ("validation", 150), ("test", 200)])
    }
    tested = dict.fromkeys(("baseline", "augmented", "vgg16"), Inference("float32", ""))
    seen = Seen({}, {}, tested)
    for name, split in splits.items():
        features = np.random.default_rng(0).normal(size=(len(split), 8)).astype(np.float32)
        features[np.arange(len(split)), split.labels] += 6
        seen.features[name] = features
        if name != "train":
            seen.scores[name] = {
                model: made_scores(split, strength, seed)
                for seed, (model, strength) in enumerate([("baseline", 0.7), ("vgg16", 2.0)])
            }
    details = all_details(splits, seen, "youden")
    folder = tmp_path_factory.mktemp("evaluation")
    write_predictions(folder / "predictions.csv", splits, seen)
    write_json(folder / "details.json", details)
    write_charts(folder, charts_of(splits, seen, details))
    return splits, seen, json.loads((folder / "details.json").read_text()), folder


def recomputed(folder, model, split="test"):
    """Labels and scores as anyone would read them."""
    table = pd.read_csv(folder / "predictions.csv", float_precision="round_trip")
    rows = table[(table.model == model) & (table.split == split)]
    columns = [name for name in map(str, table) if name.startswith("score_")]
    names = [name.removeprefix("score_") for name in columns]
    return rows.label.map(names.index).to_numpy(), rows[columns].to_numpy(), rows, names


@pytest.mark.parametrize("model", ["baseline", "vgg16"])
def test_every_figure_follows_from_the_predictions(judged, model):
    _, _, details, folder = judged
    labels, scores, rows, names = recomputed(folder, model)
    predicted = scores.argmax(axis=1)
    assert rows.predicted.map(names.index).tolist() == predicted.tolist()
    many = len(names) > 2
    ranked = {"multi_class": "ovr", "average": "macro"} if many else {}
    given = scores if many else scores[:, 1]
    truth = np.eye(len(names))[labels] if many else labels
    test = details["models"][model]["test"]
    expected = {
        "accuracy": sk.accuracy_score(labels, predicted),
        "balanced_accuracy": sk.balanced_accuracy_score(labels, predicted),
        "log_loss": sk.log_loss(labels, scores),
        "roc_auc": sk.roc_auc_score(labels, given, **ranked),
        "average_precision": sk.average_precision_score(truth, given),
        "brier": sk.brier_score_loss(labels, given, labels=range(len(names)))
        if many
        else sk.brier_score_loss(labels, given),
    }
    for name, value in expected.items():
        assert test[name]["value"] == pytest.approx(value, abs=1e-9), name
    low, high = stats.binomtest(int((predicted == labels).sum()), len(labels)).proportion_ci(
        method="wilson"
    )
    assert test["accuracy"]["low"] == pytest.approx(low, abs=1e-9)
    assert test["accuracy"]["high"] == pytest.approx(high, abs=1e-9)
    assert test["confusion"] == sk.confusion_matrix(labels, predicted).tolist()
    figures = sk.classification_report(labels, predicted, target_names=names, output_dict=True)
    for name in names:
        for figure, key in (("precision", "precision"), ("recall", "recall"), ("f1", "f1-score")):
            found = test["classes"][name][figure]["value"]
            assert found == pytest.approx(figures[name][key], abs=1e-9)


@pytest.mark.parametrize("model", ["baseline", "vgg16"])
def test_temperature_and_calibrated_figures_follow_from_the_predictions(judged, model):
    _, _, details, folder = judged
    found = details["models"][model]
    labels, scores, _, _ = recomputed(folder, model, "validation")
    # Temperature scaling is a conditional logit of one variable, the logarithm of the score, whose
    # coefficient is normal, 1 ± 1, before anything is seen.
    n, k = scores.shape
    fitted = ConditionalLogit(
        np.eye(k)[labels].ravel(), np.log(scores).ravel(), groups=np.repeat(range(n), k)
    )
    inverse = optimize.newton(
        lambda x: float(fitted.score([x])[0]) - (x - 1),
        1 / found["temperature"] + 0.05,
        tol=1e-14,
    )
    assert found["temperature"] == pytest.approx(1 / inverse, abs=1e-9)

    labels, scores, _, _ = recomputed(folder, model)
    powers = scores**inverse
    calibrated = powers / powers.sum(axis=1, keepdims=True)
    assert found["calibrated"]["log_loss"] == pytest.approx(
        sk.log_loss(labels, calibrated), abs=1e-9
    )
    for key, shares in (("test", scores), ("calibrated", calibrated)):
        table = pd.DataFrame({"sure": shares.max(axis=1)})
        table["right"] = shares.argmax(axis=1) == labels
        bins = table.groupby(pd.cut(table.sure, np.linspace(0, 1, 16)), observed=True)
        error = (bins.size() * (bins.right.mean() - bins.sure.mean()).abs()).sum() / len(labels)
        assert found[key]["ece"]["value"] == pytest.approx(error, abs=1e-9)


@pytest.mark.parametrize("goal", ["youden", "precision>=0.8", "recall>=0.9", 0.3])
def test_the_threshold_follows_from_the_predictions(judged, goal):
    splits, seen, _, folder = judged
    if len(splits["test"].classes) > 2:
        pytest.skip("a threshold is for two classes: with more, the highest score decides")
    for model, found in all_details(splits, seen, goal)["models"].items():
        check_threshold(folder, model, found["threshold"], goal)


def check_threshold(folder, model, found, goal):
    labels, scores, _, _ = recomputed(folder, model, "validation")
    levels = sorted(set(scores[:, 1]))
    middles = [(low + high) / 2 for low, high in pairwise([levels[0], *levels])]
    matrices = [sk.confusion_matrix(labels, scores[:, 1] >= x) for x in middles]
    recall = np.array([m[1, 1] / m[1].sum() for m in matrices])
    precision = np.array([m[1, 1] / m[:, 1].sum() for m in matrices])
    specificity = np.array([m[0, 0] / m[0].sum() for m in matrices])
    worth = {
        "youden": recall + specificity,
        "precision>=0.8": np.where(precision >= 0.8, recall, -1),
        "recall>=0.9": np.where(recall >= 0.9, precision, -1),
        0.3: np.array([x == 0.3 for x in middles]),
    }[goal]
    best = {x for x, w in zip(middles, worth, strict=True) if w == worth.max()}
    assert goal == found["value"] or any(found["value"] == pytest.approx(x, abs=1e-9) for x in best)

    labels, scores, _, _ = recomputed(folder, model)
    called = scores[:, 1] >= found["value"]
    assert found["test"]["confusion"] == sk.confusion_matrix(labels, called).tolist()
    for name, value in (
        ("accuracy", sk.accuracy_score(labels, called)),
        ("precision", sk.precision_score(labels, called)),
        ("recall", sk.recall_score(labels, called)),
        ("specificity", sk.recall_score(labels, called, pos_label=0)),
    ):
        assert found["test"][name]["value"] == pytest.approx(value, abs=1e-9)


def test_the_rows_of_the_predictions_are_ordered_by_model_split_and_picture(judged):
    splits, _, _, folder = judged
    table = pd.read_csv(folder / "predictions.csv")
    assert list(table.columns[:5]) == ["model", "split", "path", "label", "predicted"]
    assert list(zip(table.model, table.split, table.path, strict=True)) == [
        (model, name, path)
        for model in ("baseline", "vgg16")
        for name in ("validation", "test")
        for path in splits[name].paths
    ]


def test_the_comparison_follows_from_the_predictions(judged):
    _, _, details, folder = judged
    right = []
    for model in ("baseline", "vgg16"):
        labels, scores, _, _ = recomputed(folder, model)
        right.append(scores.argmax(axis=1) == labels)
    only_a, only_b = int((right[0] & ~right[1]).sum()), int((~right[0] & right[1]).sum())
    (pair,) = details["comparisons"]
    assert (pair["a"], pair["b"], pair["only_a"], pair["only_b"]) == (
        "baseline",
        "vgg16",
        only_a,
        only_b,
    )
    assert pair["p_value"] == pytest.approx(stats.binomtest(only_a, only_a + only_b).pvalue)


def test_temperature_and_threshold_come_from_validation_alone(judged):
    splits, seen, details, _ = judged
    test = splits["test"]
    turned = Split(test.images, (test.labels + 1) % len(test.classes), test.paths, test.classes)
    other = all_details(splits | {"test": turned}, seen, "youden")
    for name, model in details["models"].items():
        assert other["models"][name]["temperature"] == model["temperature"]
        if model["threshold"]:
            assert other["models"][name]["threshold"]["value"] == model["threshold"]["value"]


def test_a_threshold_is_chosen_for_two_classes_only(judged):
    splits, _, details, _ = judged
    for model in details["models"].values():
        assert bool(model["threshold"]) == (len(splits["test"].classes) == 2)


def test_calibration_lowers_the_loss_where_confidence_was_too_high(judged):
    model = judged[2]["models"]["baseline"]
    assert model["temperature"] > 1.5
    assert model["calibrated"]["log_loss"] < model["test"]["log_loss"]["value"]


def test_details_are_json_that_any_program_reads(judged):
    def strict(constant: str) -> None:
        raise AssertionError(constant)

    json.loads((judged[3] / "details.json").read_text(), parse_constant=strict)


def test_wrong_labels_are_found_under_their_paths_and_splits():
    classes = CLASSES[2]
    splits = {"validation": made_split(100, classes, 1), "test": made_split(120, classes, 2)}
    features = {}
    for name, split in splits.items():
        rng = np.random.default_rng(len(split))
        features[name] = rng.normal(size=(len(split), 6)).astype(np.float32)
        features[name][:, 0] += 3 * split.labels
    # A clear case of its class, under the label of the other one.
    features["test"][7, 0] = 20 * splits["test"].labels[7] - 10
    splits["test"].labels[7] = 1 - splits["test"].labels[7]
    one, *_ = find_label_errors(splits, features)
    assert (one["split"], one["row"], one["path"]) == ("test", 7, "folder, 2/7.jpg")
    assert one["label"] == classes[splits["test"].labels[7]] != one["suggested"]
    assert 0.5 < one["confidence"] <= 1


@pytest.mark.parametrize("chart", CHARTS)
def test_charts_have_a_file_a_model_with_a_few_hundred_rows_at_most(judged, chart):
    ending, comma = ("csv", ",") if chart == "confusion" else ("tsv", "\t")
    for model in ("baseline", "vgg16"):
        with (judged[3] / chart / f"{model}.{ending}").open(newline="") as file:
            rows = list(csv.DictReader(file, delimiter=comma))
        assert 0 < len(rows) <= 400
        assert None not in rows[0]
        assert all(len(row) == len(rows[0]) for row in rows)


def test_the_areas_under_the_curves_are_the_figures(judged):
    splits, seen, details, _ = judged
    charts = charts_of(splits, seen, details)
    for model, found in details["models"].items():
        roc = pd.DataFrame(charts["roc"][model])
        area = np.trapezoid(roc.true_positive_rate, roc.false_positive_rate)
        assert area == pytest.approx(found["test"]["roc_auc"]["value"], abs=0.003)
        steps = pd.DataFrame(charts["precision_recall"][model])
        area = float((np.diff(steps.recall) * steps.precision[1:]).sum())
        assert area == pytest.approx(found["test"]["average_precision"]["value"], abs=0.006)
        histogram = pd.DataFrame(charts["scores"][model])
        assert histogram["count"].sum() == len(splits["test"])
        confusion = pd.DataFrame(charts["confusion"][model])
        assert confusion.images.sum() == len(splits["test"])
        for scores in ("raw", "calibrated"):
            rows = [row for row in charts["reliability"][model] if row["scores"] == scores]
            assert sum(row["count"] for row in rows) == len(splits["test"])


def tiny_splits() -> dict[str, Split]:
    sizes = {"train": 33, "validation": 8, "test": 40}  # some of more than one batch
    return {
        name: made_split(n, CLASSES[2], seed, size=80)
        for seed, (name, n) in enumerate(sizes.items())
    }


def test_one_pass_gives_the_scores_and_the_features(monkeypatch):
    keras.utils.set_random_seed(0)
    splits = tiny_splits()
    models = {"baseline": cnn5(80, 2), "vgg16": cnn5(80, 2)}
    given, traced = [], []
    compiled = passes.compiled

    def counted(model):
        run = compiled(model)
        traced.append(run)
        return lambda batch: given.append(len(batch)) or run(batch)

    monkeypatch.setattr(passes, "compiled", counted)
    seen = look(models, splits, features_of="vgg16")
    assert sum(given) == (8 + 40) * len(models) + 33
    assert [run.experimental_get_tracing_count() for run in traced] == [1, 1]
    assert {name: list(scores) for name, scores in seen.scores.items()} == {
        "validation": ["baseline", "vgg16"],
        "test": ["baseline", "vgg16"],
    }
    assert {name: len(features) for name, features in seen.features.items()} == {
        name: len(split) for name, split in splits.items()
    }
    images = splits["test"].images
    for name, model in models.items():
        np.testing.assert_array_equal(seen.scores["test"][name], plain_scores(model, images))
    kernel, bias = models["vgg16"].get_layer("output").get_weights()
    logits = seen.features["test"] @ kernel + bias
    np.testing.assert_allclose(
        1 / (1 + np.exp(-logits[:, 0])), seen.scores["test"]["vgg16"][:, 1], atol=1e-5
    )


def test_a_diverged_model_is_named_in_one_line():
    models = {"baseline": cnn5(80, 2), "vgg16": cnn5(80, 2)}
    kernel, bias = models["vgg16"].get_layer("output").get_weights()
    models["vgg16"].get_layer("output").set_weights([np.full_like(kernel, np.nan), bias])
    with pytest.raises(UserError, match=r"^vgg16 diverged in training: its scores are not finite"):
        look(models, tiny_splits(), features_of="vgg16")


def test_the_scores_come_from_the_faster_copy(monkeypatch):
    keras.utils.set_random_seed(0)
    splits = tiny_splits()
    given, faster = cnn5(80, 2), cnn5(80, 2)
    asked = []
    monkeypatch.setattr(passes, "accelerated", lambda *asking: asked.append(asking) or faster)
    seen = look({"vgg16": given}, splits, features_of="vgg16")
    assert asked == [(given, 41)]
    expected = plain_scores(faster, splits["test"].images)
    np.testing.assert_array_equal(seen.scores["test"]["vgg16"], expected)


def test_the_other_class_is_the_positive_one_where_params_say_so(judged):
    splits, seen, details, folder = judged
    if len(splits["test"].classes) > 2:
        pytest.skip("of two classes alone one is the positive one")
    assert details["positive"] == "dogs"
    found = all_details(splits, seen, "precision>=0.8", positive=0)
    assert found["positive"] == "cats"
    labels, scores, _, _ = recomputed(folder, "baseline")
    other = found["models"]["baseline"]
    called = scores[:, 0] >= other["threshold"]["value"]
    assert other["threshold"]["positive"] == "cats"
    assert other["threshold"]["test"]["precision"]["value"] == pytest.approx(
        sk.precision_score(labels == 0, called)
    )
    assert other["test"]["average_precision"]["value"] == pytest.approx(
        sk.average_precision_score(labels == 0, scores[:, 0])
    )
    assert other["test"]["roc_auc"]["value"] == pytest.approx(
        details["models"]["baseline"]["test"]["roc_auc"]["value"]
    )
    test = splits["test"]
    rows = chart_rows(labels, {"m": scores}, test.classes, {"m": 1.0}, positive=0)
    steps = pd.DataFrame(rows["precision_recall"]["m"])
    area = float((np.diff(steps.recall) * steps.precision[1:]).sum())
    assert area == pytest.approx(other["test"]["average_precision"]["value"], abs=0.006)
    high = [row for row in rows["scores"]["m"] if row["lower"] >= 0.5 and row["label"] == "cats"]
    assert sum(row["count"] for row in high) == int((scores[labels == 0, 0] > 0.5).sum())


@pytest.mark.parametrize(
    ("name", "classes", "expected"),
    [(None, ("a", "b"), 1), ("a", ("a", "b"), 0), ("b", ("a", "b"), 1), (None, "abc", 1)],
)
def test_the_positive_class_is_the_second_unless_params_name_it(name, classes, expected):
    assert positive_class(name, classes) == expected


def test_a_positive_class_that_there_is_not_is_one_line():
    with pytest.raises(
        UserError, match=r"^evaluate.positive is 'dog', the classes are: cats, dogs$"
    ):
        positive_class("dog", CLASSES[2])
    with pytest.raises(
        UserError, match=r"^evaluate.positive is for two classes, here are 4: null$"
    ):
        positive_class("a", CLASSES[4])
