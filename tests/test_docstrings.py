"""The examples of docstrings are what they say, in a project where the stages have run."""

import doctest
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from classifier.base.splits import read_split
from classifier.networks.cnn5 import cnn5
from classifier.training.saving import load_model, save_model
from tests.projects import ROOT
from tests.training.test_fit import made_splits

SIZE = 78
MODULES = sorted(
    ".".join(path.relative_to(ROOT).with_suffix("").parts)
    for path in (ROOT / "classifier").glob("*/*.py")
    if ">>> " in path.read_text(encoding="utf-8")
)


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("project")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        made_splits(folder, SIZE, train=4, validation=4)
        for suffix in (".csv", ".npy"):
            held_out = Path("data/splits/validation").with_suffix(suffix)
            held_out.with_stem("test").write_bytes(held_out.read_bytes())
        save_model(Path("data/models/baseline.keras"), cnn5(SIZE, 2), {})
        Path("params.yaml").write_bytes((ROOT / "params.yaml").read_bytes())
        Image.new("RGB", (300, 200)).save("cat.jpg")
    return folder


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_of_a_module_are_true(project, monkeypatch, name):
    monkeypatch.chdir(project)
    module = import_module(name)
    given = {
        "Path": Path,
        "np": np,
        "load_model": load_model,
        "read_split": read_split,
        "model": cnn5(SIZE, 2),
        "images": np.zeros((2, SIZE, SIZE, 3), np.uint8),
    }
    found = [
        test for test in doctest.DocTestFinder().find(module, extraglobs=given) if test.examples
    ]
    assert found
    runner = doctest.DocTestRunner(verbose=False, optionflags=doctest.IGNORE_EXCEPTION_DETAIL)
    for test in found:
        runner.run(test)
    assert runner.summarize(verbose=False).failed == 0
