"""Learning curves as Mermaid's charts."""

import pytest

from classifier.commands.mermaid import learning_curves

COLUMNS = "epoch\ttrain_loss\tvalidation_loss\ttrain_accuracy\tvalidation_accuracy\tlearning_rate"
ROWS = ("1\t0.7\t0.8\t0.5\t0.4\t0.001", "2\t0.5\t0.6\t0.75\t0.7\t1e-05")


def write(folder, name, *rows):
    (folder / f"{name}.tsv").write_text("\n".join([COLUMNS, *rows]) + "\n", encoding="utf-8")


def test_each_model_has_a_chart_of_accuracy_and_one_of_loss(tmp_path):
    write(tmp_path, "vgg16", *ROWS)
    write(tmp_path, "baseline", *ROWS)
    text = learning_curves(tmp_path)
    titles = [line.split('"')[1] for line in text.splitlines() if line.startswith("  title")]
    assert [title.split(" in ")[0] for title in titles] == [
        "baseline: accuracy",
        "baseline: loss",
        "vgg16: accuracy",
        "vgg16: loss",
    ]
    assert text.count("```mermaid\n") == text.count("\n```\n") == 4
    lines = [line.strip() for line in text.splitlines() if line.startswith("  line")]
    assert lines[:2] == ["line [0.5000, 0.7500]", "line [0.4000, 0.7000]"]
    assert lines[2:4] == ["line [0.7000, 0.5000]", "line [0.8000, 0.6000]"]
    assert text.count('x-axis "epoch" 1 --> 2') == 4


def test_a_curve_ends_where_the_training_diverged(tmp_path):
    write(tmp_path, "baseline", *ROWS, "3\tnan\tnan\t0.5\t0.5\t0.001", "4\t0.7\t0.7\t1\t1\t0.001")
    text = learning_curves(tmp_path)
    assert "nan" not in text
    assert 'x-axis "epoch" 1 --> 2' in text


@pytest.mark.parametrize("rows", [(), ROWS[:1]])
def test_one_epoch_is_no_curve(tmp_path, rows):
    write(tmp_path, "baseline", *rows)
    assert learning_curves(tmp_path) == "No model was trained for more than one epoch.\n"
