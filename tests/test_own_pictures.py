"""A user's own pictures and downloads, as far as the split: real DVC and stages, no training."""

import csv
import hashlib
import io
import json
import shutil
import zipfile
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from classifier.base.files import write_json
from classifier.base.params import load_params
from classifier.sources.sample import CLASSES, pictures
from tests.http_server import Answer, serving
from tests.projects import (
    CATALOGUE,
    STAGES,
    Project,
    dependencies,
    files_in,
    files_made,
    outputs,
    ran,
)

pytestmark = [pytest.mark.slow]
A, B = CLASSES


# A user's own pictures.


def listed(project: Project, split: str) -> dict[str, str]:
    """Path and SHA-256 of a split's pictures."""
    rows = csv.DictReader(project.read(f"data/splits/{split}.csv").splitlines())
    return {row["path"]: row["sha256"] for row in rows}


def all_listed(project: Project) -> dict[str, str]:
    return listed(project, "train") | listed(project, "validation") | listed(project, "test")


def write_folder(files: dict[str, bytes], at: Path) -> None:
    shutil.rmtree(at, ignore_errors=True)
    for name, content in files.items():
        (at / name).parent.mkdir(parents=True, exist_ok=True)
        (at / name).write_bytes(content)


def write_zip(files: dict[str, bytes], at: Path) -> None:
    with zipfile.ZipFile(at, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)


@pytest.mark.parametrize(
    ("source", "write"), [("pictures", write_folder), ("pictures.zip", write_zip)]
)
def test_a_users_pictures_change_the_split_when_they_change(project, source, write):
    drawn = dict(pictures(per_class=23, size=64, seed=0))
    files = {path: data for path, data in drawn.items() if int(path[-8:-4]) <= 20}
    at = project.root / source
    write(files, at)
    with (project.root / ".git/info/exclude").open("a", encoding="utf-8") as file:
        file.write(f"/{source}\n")
    project.change({"data": {"source": source}})

    assert ran(project.dvc("repro", "split")) == ["download", "split"]
    first = all_listed(project)
    assert first.keys() == files.keys()
    assert first[f"{A}/0001.jpg"] == hashlib.sha256(files[f"{A}/0001.jpg"]).hexdigest()
    assert ran(project.dvc("repro", "split")) == []

    # One more and one less. Of an archive DVC sees the bytes alone: one change is like another.
    changed = files | {f"{A}/0021.jpg": drawn[f"{A}/0021.jpg"]}
    del changed[f"{B}/0003.jpg"]
    if at.is_dir():
        write(changed, at)
        assert ran(project.dvc("repro", "split")) == ["download", "split"]
        assert all_listed(project).keys() == changed.keys()

    replaced = changed | {f"{A}/0001.jpg": drawn[f"{A}/0022.jpg"], f"{B}/0004.jpg": b"no picture"}
    write(replaced, at)
    assert ran(project.dvc("repro", "split")) == ["download", "split"]
    now = all_listed(project)
    assert now[f"{A}/0001.jpg"] == hashlib.sha256(drawn[f"{A}/0022.jpg"]).hexdigest()
    assert now.keys() == replaced.keys() - {f"{B}/0004.jpg"}
    rejected = list(csv.DictReader(project.read("data/splits/rejected.csv").splitlines()))
    assert [row["path"] for row in rejected] == [f"{B}/0004.jpg"]
    assert rejected[0]["reason"]
    assert f"{B}/0004.jpg" not in project.read("data/splits/train.csv")

    # Back to where it was. An archive packed anew has other bytes, but its pictures are the same:
    # DVC knows their split.
    write(files, at)
    assert ran(project.dvc("repro", "split")) == ([] if at.is_dir() else ["download"])
    assert all_listed(project) == first


# Downloads.


def archive() -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as opened:
        for name, data in pictures(per_class=20, size=64, seed=0):
            opened.writestr(f"top/{name}", data)
    return content.getvalue()


def catalogue(project: Project, url: str, content: bytes) -> None:
    entry = {
        "name": "remote",
        "description": "Pictures on a server.",
        "file": {
            "name": "pictures.zip",
            "urls": [url],
            "bytes": len(content),
            "sha256": hashlib.sha256(content).hexdigest(),
        },
        "terms": "None.",
        "citation": "None.",
    }
    # JSON is YAML.
    write_json(project.root / "data/catalog/remote.yaml", entry)
    project.change({"data": {"source": "data/catalog/remote.yaml"}})


@pytest.mark.parametrize("how", ["catalogue", "mirror"])
def test_a_data_set_comes_over_http(project, how):
    content = archive()
    with serving() as server:
        server.answers["/pictures.zip"] = [Answer(content)]
        # Nobody listens at port 9.
        home = server.url if how == "catalogue" else "http://127.0.0.1:9"
        catalogue(project, f"{home}/pictures.zip", content)
        variables = {} if how == "catalogue" else {"DATA_MIRROR": server.url}
        output = project.dvc("repro", "split", variables=variables)
        assert server.requests
    assert ran(output) == ["download", "split"]
    assert len(all_listed(project)) == 40
    recorded_file = json.loads(project.read("data/raw/dataset.json"))["file"]
    assert recorded_file["sha256"] == hashlib.sha256(content).hexdigest()
    assert ran(project.dvc("repro", "split")) == []
    assert server.url not in project.read("dvc.lock")


def errors_in(output: str) -> list[str]:
    return [line for line in output.splitlines() if line.startswith("error: ")]


def test_without_a_network_the_ways_on_are_named_and_nothing_is_left(project):
    catalogue(project, "http://127.0.0.1:9/pictures.zip", b"content")
    output = project.dvc("repro", fails=True)
    (line,) = errors_in(output)
    for word in ("http://127.0.0.1:9/pictures.zip", "DATA_MIRROR", "data.source", "sample"):
        assert word in line
    assert "Traceback" not in output
    for stage in STAGES:
        assert files_made(project.root, stage) == {}
    assert set(YAML(typ="safe").load(project.root / "dvc.lock")["stages"]) == {"check"}
    assert "download" in project.dvc("status")

    # One of the three ways.
    project.change({"data": {"source": CATALOGUE}})
    assert ran(project.dvc("repro", "download")) == ["download"]


def test_a_stage_that_fails_leaves_the_results_of_none(project):
    assert ran(project.dvc("repro", "split")) == ["download", "split"]
    project.change({"split": {"method": "numbered"}})  # the pictures have no numbers from 1000 on
    output = project.dvc("repro", "split", fails=True)
    (line,) = errors_in(output)
    assert "validation" in line
    assert "Traceback" not in output
    arrays = [path for path in outputs(project.root, "split") if path.endswith(".npy")]
    assert not any((project.root / path).exists() for path in arrays)
    assert "split" in project.dvc("status")
    # What was rejected may be the reason of the failure, so this list stays; no stage reads it.
    assert files_in(project.root / "data/splits") <= {".gitignore", "rejected.csv"}
    assert not any("rejected.csv" in path for stage in STAGES for path in dependencies(stage))


def test_the_parameters_of_these_tests_are_allowed(project):
    params = load_params(project.root / "params.yaml")
    assert params.data.source == CATALOGUE
