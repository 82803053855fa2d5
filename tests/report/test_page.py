"""The report page: what it says, and how a real browser shows it."""

import base64
import io
import re
from dataclasses import asdict, replace
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from ruamel.yaml import YAML

from classifier.base.wording import decimals
from classifier.evaluation import curves
from classifier.evaluation import details as evaluation
from classifier.evaluation import figures as metrics
from classifier.evaluation.calibration import apply_temperature
from classifier.evaluation.comparison import compare_models
from classifier.evaluation.cost import Cost
from classifier.images.duplicates import near_duplicates
from classifier.images.facts import Facts
from classifier.images.quality import Row
from classifier.images.quality import report as quality_report
from classifier.report import page as report

CHROMIUM = Path("/usr/bin/chromium")
QUIET = [
    *("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update"),
]
PARAMS = Path(__file__).parents[2] / "params.yaml"
STRENGTHS = {"baseline": 0.8, "augmented": 1.4, "vgg16": 3.5}


def simulated(n, classes, strength, seed):
    """Labels, and scores of a model that is too sure of itself."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % classes
    logits = rng.normal(size=(n, classes)) + strength * np.eye(classes)[labels]
    scores = np.exp(1.8 * logits)
    return labels, scores / scores.sum(axis=1, keepdims=True)


def learning(strength, epochs=12):
    return [
        {
            "epoch": float(epoch),
            "train_loss": 0.7 * 0.8**epoch,
            "validation_loss": 0.65 - 0.05 * strength + 0.004 * (epoch - 6) ** 2,
            "train_accuracy": 1 - 0.5 * 0.8**epoch,
            "validation_accuracy": 0.6 + 0.1 * strength * (1 - 0.7**epoch),
            "learning_rate": 0.001,
        }
        for epoch in range(1, epochs + 1)
    ]


def quality(classes):
    rng = np.random.default_rng(3)
    rows = []
    for number in range(60):
        facts = Facts(
            sha256=str(number // 2 if number < 4 else number),
            width=int(rng.integers(50, 900)),
            height=300,
            format="JPEG",
            mode="RGB",
            brightness=20.0 if number == 9 else 120.0,
            sharpness=400.0,
            hash=number // 2 if number < 8 else int(rng.integers(2**63)),
        )
        part = ("train", "validation", "test")[number % 3]
        label = classes[number // 3 % len(classes)]
        rows.append(Row(f"{label}/{number}.jpg", label, part, facts))
    hashes = np.array([row.facts.hash for row in rows], np.uint64)
    broken = [("cats/empty.jpg", "empty file"), ("cats/notes.txt", "not a picture: text")]
    return quality_report(rows, near_duplicates(hashes), broken)


def picture(path, width, height):
    noise = np.random.default_rng(width).integers(0, 255, (height // 20, width // 20, 3), np.uint8)
    Image.fromarray(noise).resize((width, height)).save(path)
    return path


def content(folder, classes=("cats", "dogs"), n=300) -> report.Report:
    params = YAML(typ="safe", pure=True).load(PARAMS.read_text(encoding="utf-8"))
    scores, models = {}, {}
    roc, precision_recall, reliability, histograms, confusion = {}, {}, {}, {}, {}
    for seed, (name, strength) in enumerate(STRENGTHS.items()):
        validation = simulated(n, len(classes), strength, seed)
        labels, scores[name] = simulated(n, len(classes), strength, 10 + seed)
        models[name] = evaluation.judge(validation, (labels, scores[name]), classes, 0.5)
        models[name]["cost"] = asdict(Cost(1_234_567, 98_765_432, 569_000_000))
        models[name]["tested"] = {"policy": "float32", "why": ""}
        calibrated = apply_temperature(scores[name], models[name]["temperature"])
        roc[name] = curves.roc(labels, scores[name])
        precision_recall[name] = curves.precision_recall(labels, scores[name])
        reliability[name] = curves.reliability_rows(labels, scores[name], calibrated)
        histograms[name] = curves.score_histogram(labels, scores[name], classes)
        confusion[name] = curves.confusion_rows(labels, scores[name], classes)
    wrong = [
        {
            "split": "test",
            "row": 3,
            "path": f"{classes[0]}/7.jpg",
            "label": classes[0],
            "suggested": classes[1],
            "confidence": 0.987,
        }
    ]
    return report.Report(
        dataset={
            "name": "sample",
            "source": "data/catalog/sample.yaml",
            "terms": "This project's.",
            "citation": "Nobody: Drawn pictures, 2020.",
            "layout": "one folder per class",
            "notes": ["extra/ is no class: it repeats the others"],
            "classes": dict.fromkeys(classes, n),
            "skipped": [],
        },
        quality=quality(classes),
        details={
            "models": models,
            "comparisons": [asdict(one) for one in compare_models(labels, scores)],
            "label_errors": wrong,
            "outliers": [{"path": "odd.jpg", "split": "train", "label": "cats", "score": 0.012}],
            "positive": classes[1] if len(classes) == 2 else None,
            "classes": list(classes),
            "images": {"train": 2 * n, "validation": n, "test": n},
        },
        curves={name: learning(strength) for name, strength in STRENGTHS.items()},
        kept={"baseline": 6, "augmented": 5, "vgg16": 7},
        trained={name: {"recipe": f"how {name} was trained", "note": ""} for name in STRENGTHS},
        charts={
            "roc": roc,
            "precision_recall": precision_recall,
            "reliability": reliability,
            "scores": histograms,
            "confusion": confusion,
        },
        pictures={
            name: picture(folder / f"{name}.png", 900 + 20 * number, 600)
            for number, name in enumerate(report.PICTURES)
        },
        params=params,
        versions={"python": "3.11.0", "keras": "3.15.1"},
    )


@pytest.fixture(scope="module")
def two(tmp_path_factory) -> report.Report:
    return content(tmp_path_factory.mktemp("two"))


@pytest.fixture(scope="module")
def hostile_names(tmp_path_factory) -> report.Report:
    """More than two classes, one of which is called like a script."""
    classes = ("<script>alert(1)</script>", 'a "quoted" & <b>bold</b>', "plain")
    return content(tmp_path_factory.mktemp("three"), classes, n=150)


class Page(HTMLParser):
    """The page's text, tags and attributes."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.html = html
        self.words: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(html)
        self.text = re.sub(r"\s+", " ", " ".join(self.words))

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.words.append(data)

    def named(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]


def rendered(tmp_path, given) -> Page:
    report.render(tmp_path / "report.html", given)
    return Page((tmp_path / "report.html").read_text(encoding="utf-8"))


def test_the_answer_stands_before_everything_else(two, tmp_path):
    text = rendered(tmp_path, two).text
    accuracy = two.details["models"]["vgg16"]["test"]["accuracy"]["value"]
    answer = f"vgg16 was right most often: on {100 * accuracy:.1f} % of 300 test pictures"
    assert answer in text
    for comparison in two.details["comparisons"]:
        assert comparison["sentence"] in text
        assert text.index(comparison["sentence"]) < text.index("The figures")


def test_what_each_model_costs_is_told(two, tmp_path):
    text = rendered(tmp_path, two).text
    assert "Parameters 1,234,567" in text
    assert "File, MB 98.8" in text
    assert "Multiplications a picture, millions 569" in text


def test_equal_best_models_are_both_named():
    labels, scores = simulated(100, 2, 2, seed=1)
    tests = dict.fromkeys(("a", "b"), metrics.details(labels, scores, ["x", "y"], resamples=20))
    assert report.best_sentence(tests).startswith("a and b were right most often: each on ")


def test_every_figure_of_the_table_stands_there_with_its_interval(two, tmp_path):
    text = rendered(tmp_path, two).text
    for model in two.details["models"].values():
        test = model["test"]
        shares = [test["accuracy"], test["balanced_accuracy"]]
        shares += [test["classes"][name][key] for name in test["classes"] for key in ("precision",)]
        for figure in shares:
            low, high = 100 * figure["low"], 100 * figure["high"]
            assert f"{100 * figure['value']:.1f} % {low:.1f}–{high:.1f}" in text
        for key in ("roc_auc", "log_loss", "brier", "average_precision"):
            figure = test[key]
            value, low, high = (decimals(figure[end]) for end in ("value", "low", "high"))
            to = " – " if high.startswith(">") else "–"
            assert f"{value} {low}{to}{high}" in text
        ece = test["ece"]
        assert f"{decimals(ece['value'])} {decimals(ece['if_calibrated'])}, ≤ " in text


def test_the_confusion_matrices_are_those_of_the_models(two, tmp_path):
    html = rendered(tmp_path, two).html
    for model in two.details["models"].values():
        for row in model["test"]["confusion"]:
            for count in row:
                assert f">{count}<small>{100 * count / sum(row):.1f}" in html


def test_a_miscalibrated_model_is_called_that_and_a_mended_one_is_not():
    wrong = {"value": 0.09, "bins": 15, "if_calibrated": 0.03, "if_calibrated_95": 0.05}
    mended = wrong | {"value": 0.04}
    model = {"test": {"ece": wrong}, "temperature": 1.8, "calibrated": {"ece": mended}}
    assert report.calibration_sentence("baseline", model) == (
        "baseline: confidence and accuracy are 9.0 points apart, more than chance explains (up to "
        "5.0 for a perfectly calibrated model). A temperature of 1.80, fitted on the validation "
        "pictures, makes it less confident: 4.0 points apart, no more than chance explains (up to "
        "5.0 for a perfectly calibrated model)."
    )
    model["temperature"] = 0.7
    assert "makes it more confident" in report.calibration_sentence("baseline", model)


def test_findings_parameters_versions_terms_and_citation_are_there(two, tmp_path):
    text = rendered(tmp_path, two).text
    assert "2 files were left out: 1 empty file; 1 not a picture: text." in text
    assert "4 files in 2 groups are the same; 2 groups lie across splits" in text
    assert "1 picture is very dark" in text
    assert "train.learning_rate 0.001" in text
    assert "finetune.learning_rate 0.00001 " in text
    assert "augment.keep_aspect true" in text
    assert "keras 3.15.1" in text
    assert two.dataset["terms"] in text
    assert two.dataset["notes"][0] in text
    assert two.dataset["citation"] in text


def test_a_note_stands_wherever_the_figures_of_its_model_do(two, tmp_path):
    note = "random weights: no transfer without imagenet"
    assert note not in rendered(tmp_path, two).text
    trained = two.trained | {"vgg16": {"recipe": "told", "note": note}}
    text = rendered(tmp_path, replace(two, trained=trained)).text
    assert text.count(note) >= 3  # the answer, the table's head
    assert text.index(note) < text.index("The figures")


def test_names_from_the_data_are_text_and_nothing_else(hostile_names, tmp_path):
    page = rendered(tmp_path, hostile_names)
    assert not page.named("script")
    assert "<script>alert(1)</script>" in page.text
    assert 'a "quoted" & <b>bold</b>' in page.text
    assert not any(name.startswith("on") for _, attributes in page.tags for name in attributes)


def test_more_than_two_classes_have_no_threshold_and_means_over_the_classes(
    hostile_names, tmp_path
):
    text = rendered(tmp_path, hostile_names).text
    assert "Mean over the classes" in text
    assert "Decision threshold" not in text


def test_the_scores_of_many_classes_are_told_apart_as_right_and_wrong(hostile_names, tmp_path):
    html = rendered(tmp_path, hostile_names).html
    scores = html.split("<h3>Scores</h3>")[1].split("</section>")[0]
    legend = scores.split('<ul class="legend">')[1].split("</ul>")[0]
    entries = [Page(entry).text.strip() for entry in legend.split("<li>")[1:]]
    assert entries == ["right", "wrong"]


def test_nothing_short_of_all_is_called_all():
    figure = {"value": 0.9998, "low": 0.99886, "high": 0.99996}
    assert report.percent_or_dash(figure["value"]) == ">99.9\N{NO-BREAK SPACE}%"
    assert report.interval(figure, as_percent=True) == "99.9 to >99.9"
    assert report.percent_or_dash(1.0) == "100.0\N{NO-BREAK SPACE}%"


def test_nothing_short_of_one_is_called_one_anywhere_on_the_page(two, tmp_path):
    models = {name: dict(model) for name, model in two.details["models"].items()}
    vgg16 = models["vgg16"]
    vgg16["test"] = vgg16["test"] | {
        "roc_auc": {"value": 0.9997, "low": 0.9991, "high": 0.99996, "method": "x"},
        "ece": {"value": 0.0003, "bins": 15, "if_calibrated": 0.0001, "if_calibrated_95": 0.0004},
    }
    vgg16["threshold"] = vgg16["threshold"] | {"value": 0.9998, "note": "precision >0.999"}
    page = rendered(tmp_path, replace(two, details=two.details | {"models": models}))
    assert ">0.999 0.999 – >0.999" in page.text
    assert "<0.001 <0.001, ≤ <0.001" in page.text
    assert "0.5: precision >0.999 >0.999" in page.text
    labels = [svg["aria-label"] or "" for svg in page.named("svg") if "aria-label" in svg]
    (roc,) = [label for label in labels if label.startswith("ROC")]
    assert roc.endswith("vgg16 >0.999.")
    # As the file has them: escaped, once.
    assert "&gt;0.999<small>0.999 – &gt;0.999</small>" in page.html
    assert "&lt;0.001<small>&lt;0.001, ≤ &lt;0.001</small>" in page.html
    assert not re.search(r"<\d|&amp;[gl]t;", page.html)


def test_the_epoch_named_is_the_one_that_was_kept(two, tmp_path):
    # To the six digits of the curve's file two epochs may be equal, and training kept the later.
    equal = [row | {"validation_loss": 0.5} for row in two.curves["vgg16"]]
    given = replace(two, curves=two.curves | {"vgg16": equal}, kept=two.kept | {"vgg16": 9})
    page = rendered(tmp_path, given)
    assert "epoch 9 of 12 was kept" in page.text
    charts = [svg["aria-label"] or "" for svg in page.named("svg") if "aria-label" in svg]
    assert sum("vgg16 0.500 in epoch 9" in label for label in charts) == 1


def test_the_page_says_where_wrong_labels_were_not_looked_for(two, tmp_path):
    for found in (two.details["label_errors"], []):
        given = replace(two, details=two.details | {"label_errors": found})
        text = rendered(tmp_path, given).text
        assert "The 600 validation and test pictures were looked through" in text
        assert "The 600 training pictures were not" in text


def test_a_curve_is_read_as_numbers(tmp_path):
    (tmp_path / "x.tsv").write_text("epoch\ttrain_loss\n1\t0.5\n2\t0.25\n")
    assert report.read_curve(tmp_path / "x.tsv") == [
        {"epoch": 1.0, "train_loss": 0.5},
        {"epoch": 2.0, "train_loss": 0.25},
    ]


def test_many_classes_have_their_confusion_matrix_as_a_chart(tmp_path):
    page = rendered(tmp_path, content(tmp_path, [f"class {n}" for n in range(12)], n=120))
    labels = [svg.get("aria-label") or "" for svg in page.named("svg")]
    assert sum(label.startswith("Confusion matrix of ") for label in labels) == len(STRENGTHS)
    assert 'class="matrix"' not in page.html


def test_many_classes_have_a_row_each_and_not_a_table(tmp_path):
    given = content(tmp_path, [f"class {n}" for n in range(12)], n=120)
    (_, rows) = report.figure_rows(given.details)[-1]
    assert [row.label for row in rows] == given.details["classes"]


def test_outliers_are_listed_and_the_positive_class_is_named(two, tmp_path):
    text = rendered(tmp_path, two).text
    assert "odd.jpg train cats 0.012" in text
    assert f"{two.details['positive']} is the positive class" in text


def test_a_data_set_without_facts_makes_a_page_too(two, tmp_path):
    bare = {"name": "mine", "source": "mine", "layout": "one folder per class", "skipped": []}
    details = two.details | {"label_errors": []}
    given = replace(two, dataset=bare, details=details, pictures={})
    text = rendered(tmp_path, given).text
    assert "None was found." in text
    assert "citation" not in text


def test_same_content_same_bytes(two, tmp_path):
    assert rendered(tmp_path, two).html == rendered(tmp_path, two).html


def test_large_pictures_are_made_to_fit(two, tmp_path):
    noise = np.random.default_rng(1).integers(0, 255, (1500, 2000, 3), np.uint8)
    for name in ("samples", "mistakes", "gradcam"):
        Image.fromarray(noise).save(tmp_path / f"{name}.png")
    large = {path.stem: path for path in tmp_path.glob("*.png")}
    html = rendered(tmp_path, replace(two, pictures=two.pictures | large)).html
    assert len(html) < 5_000_000


def test_pictures_come_through_the_encoding(two, tmp_path):
    sources = [image["src"] or "" for image in rendered(tmp_path, two).named("img")]
    assert len(sources) == len(report.PICTURES)
    for source in sources:
        encoded = base64.b64decode(source.removeprefix("data:image/webp;base64,"))
        assert Image.open(io.BytesIO(encoded)).size[1] == 600


def test_numbers_that_have_no_value_are_dashes(two, tmp_path):
    nothing = {"value": None, "low": None, "high": None, "method": "wilson"}
    models = {name: dict(model) for name, model in two.details["models"].items()}
    test = models["vgg16"]["test"]
    never = test["classes"] | {"dogs": test["classes"]["dogs"] | {"precision": nothing}}
    models["vgg16"]["test"] = test | {"classes": never}
    text = rendered(tmp_path, replace(two, details=two.details | {"models": models})).text
    assert re.search(r"Precision [\d.]+ % [\d.]+–[\d.]+ [\d.]+ % [\d.]+–[\d.]+ – ", text)


# In a browser

CONTRAST = """() => {
  // Colours in any notation become numbers by being painted.
  const canvas = document.createElement('canvas').getContext('2d', {willReadFrequently: true});
  const rgba = colour => {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = colour;
    canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data];
  };
  const over = (top, below) => top.slice(0, 3).map((v, i) => {
    const alpha = top[3] / 255;
    return alpha * v + (1 - alpha) * below[i];
  });
  const background = element => {
    if (!element) return [255, 255, 255];
    const own = rgba(getComputedStyle(element).backgroundColor);
    return own[3] === 255 ? own.slice(0, 3) : over(own, background(element.parentElement));
  };
  const luminance = colour => {
    const [r, g, b] = colour.map(v => v / 255)
      .map(v => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const found = [];
  for (const element of document.body.querySelectorAll('*')) {
    const own = [...element.childNodes].some(n => n.nodeType === 3 && n.textContent.trim());
    if (!own) continue;
    const style = getComputedStyle(element);
    const below = background(element);
    const inSvg = element instanceof SVGElement;
    const above = over(rgba(inSvg ? style.fill : style.color), below);
    const [a, b] = [luminance(above), luminance(below)].sort((x, y) => y - x);
    const ratio = (a + 0.05) / (b + 0.05);
    found.push([ratio, element.outerHTML.slice(0, 80)]);
  }
  return found.sort((x, y) => x[0] - y[0]);
}"""
WIDER = """() => [...document.body.querySelectorAll('*')]
  .filter(e => e.getBoundingClientRect().right > innerWidth + 1 && !e.closest('.scroll'))
  .map(e => e.outerHTML.slice(0, 80))"""
# Beyond its cell a text runs into the next one's.
OVERFLOWING = """() => [...document.querySelectorAll('td, th, td small, th small')]
  .filter(e => e.scrollWidth > e.clientWidth + 1 && e.clientWidth)
  .map(e => e.outerHTML.slice(0, 80))"""


@pytest.fixture(scope="module")
def browser():
    if not CHROMIUM.exists():
        pytest.skip(f"there is no {CHROMIUM} to open the page in; .ci/run installs it")
    playwright = pytest.importorskip("playwright.sync_api", reason="it drives Chromium")
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def shown(browser, two, tmp_path_factory):
    """Opens the page at a width and in a colour scheme; collects what goes wrong."""
    path = tmp_path_factory.mktemp("page") / "report.html"
    report.render(path, two)
    contexts = []

    def show(width: int, scheme: Any, html: Path = path):
        context = browser.new_context(
            viewport={"width": width, "height": 900}, color_scheme=scheme, reduced_motion="reduce"
        )
        contexts.append(context)
        page = context.new_page()
        page.problems = []
        page.on("console", lambda message: page.problems.append(message.text))
        page.on("pageerror", lambda error: page.problems.append(str(error)))
        page.on(
            "request",
            lambda request: (
                request.url.startswith(("file:", "data:")) or page.problems.append(request.url)
            ),
        )
        page.goto(html.as_uri(), wait_until="load")
        return page

    yield show
    for context in contexts:
        context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_it_opens_without_a_complaint_or_a_request_and_fits_the_screen(shown, width, scheme):
    page = shown(width, scheme)
    assert page.problems == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate(WIDER) == []
    assert page.evaluate(OVERFLOWING) == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_from_what_is_behind_it(shown, scheme):
    worst = shown(1280, scheme).evaluate(CONTRAST)
    assert len(worst) > 300
    assert worst[0][0] >= 4.5, worst[:5]


def test_dark_is_dark_and_light_is_light(shown):
    brightness = "getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)[0]"
    assert shown(1280, "light").evaluate(brightness) > 240
    assert shown(1280, "dark").evaluate(brightness) < 40


def test_pictures_load_and_everything_seen_is_also_said(shown):
    page = shown(1280, "light")
    images = page.evaluate("[...document.images].map(i => [i.naturalWidth, i.alt])")
    assert len(images) == len(report.PICTURES)
    assert all(width > 300 and len(alt) > 20 for width, alt in images)
    labels = page.evaluate("[...document.querySelectorAll('[role=img]')].map(e => e.ariaLabel)")
    assert len(labels) == 1 + 2 + 2 + 3 + 3
    assert all(len(label) > 40 for label in labels)


def test_headings_go_down_one_step_at_a_time(shown):
    page = shown(1280, "light")
    levels = page.evaluate(
        "[...document.querySelectorAll('h1,h2,h3,h4')].map(h => Number(h.tagName[1]))"
    )
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(b - a <= 1 for a, b in pairwise(levels))


def test_links_lead_somewhere(shown):
    page = shown(390, "light")
    assert page.evaluate(
        "[...document.querySelectorAll('nav a')].every(a => document.querySelector(a.hash))"
    )


def test_hostile_names_run_nothing(shown, hostile_names, tmp_path):
    path = tmp_path / "report.html"
    report.render(path, hostile_names)
    page = shown(390, "light", path)
    assert page.problems == []
    assert page.evaluate("document.scripts.length") == 0
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
