"""What a reader sees of a run of real DVC, and what is left to its log."""

import io
import json
from pathlib import Path

import pytest

from classifier.base.errors import UserError
from classifier.commands.repro import _show, results, run_dvc
from tests.projects import clean_process, new_repository

STAGE = """\
import sys
print("Epoch 1/2")
print("an epoch takes 3.0 s; 1 more: about 2 min")
print("2/2 - 3s - 2s/step - accuracy: 0.5 - loss: 0.7")
print("W0000 a library's warning", file=sys.stderr)
print("one: best epoch 1 of 2")
open("made", "w").write("x")
if len(sys.argv) > 1:
    print("error: this picture is no picture", file=sys.stderr)
    sys.exit(1)
"""


@pytest.fixture
def project(tmp_path, monkeypatch) -> Path:
    clean_process(monkeypatch, tmp_path / "home")
    made = new_repository(tmp_path)
    made.dvc("init", "--quiet")
    monkeypatch.chdir(made.root)
    Path("stage.py").write_text(STAGE, encoding="utf-8")
    Path("dvc.yaml").write_text(
        "stages:\n  one: {cmd: python stage.py, deps: [stage.py], outs: [made]}\n"
        "  two: {cmd: python stage.py wrong, deps: [made]}\n",
        encoding="utf-8",
    )
    return Path("log.txt")


def test_a_reader_sees_what_stages_find_and_the_log_holds_the_rest(project, capsys):
    run_dvc(["repro", "one"], Path(), project)
    shown = [line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines()]
    assert [stage for stage, _ in shown] == ["one"] * 3
    assert [text for _, text in shown[:2]] == [
        "an epoch takes 3.0 s; 1 more: about 2 min",
        "one: best epoch 1 of 2",
    ]
    assert shown[2][1].startswith("done in ")
    log = project.read_text(encoding="utf-8")
    assert all(text in log for text in ("W0000", "Epoch 1/2", "2/2 - 3s", "Running stage 'one'"))

    with pytest.raises(UserError, match=r"^this picture is no picture; .*: log.txt$"):
        run_dvc(["repro"], Path(), project)
    assert "one                 as before" in capsys.readouterr().out
    assert "this picture is no picture" in project.read_text(encoding="utf-8")


def test_a_reader_who_has_seen_enough_ends_no_run(project, monkeypatch):
    class Closed(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError

    monkeypatch.setattr("sys.stdout", Closed())
    run_dvc(["repro", "one"], Path(), project)
    assert Path("made").exists()
    assert "2/2 - 3s" in project.read_text(encoding="utf-8")


def test_a_terminal_shows_the_epoch_and_writes_over_it():
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    lines = "Running stage 'one':\n> python x\nEpoch 7/20\none: best epoch 3 of 20\n"
    _show(io.StringIO(lines), io.StringIO(), terminal)
    seen = [part.strip() for part in terminal.getvalue().replace("\n", "\r").split("\r\x1b[K")]
    assert seen[1].split() == ["one", "..."]
    assert seen[2].split() == ["one", "epoch", "7", "of", "20"]
    assert seen[3].split(maxsplit=1) == ["one", "one: best epoch 3 of 20"]


def test_the_results_are_a_line_a_model_however_many_there_are(tmp_path):
    (tmp_path / "metrics").mkdir()
    (tmp_path / "data/models").mkdir(parents=True)
    one = {"accuracy": 0.9, "accuracy_low": 0.85, "accuracy_high": 0.94}
    names = ["baseline", "augmented", "vgg16", "mobilenet"]
    (tmp_path / "metrics/evaluate.json").write_text(json.dumps(dict.fromkeys(names, one)))
    for name in names:
        note = "random weights" if name == "vgg16" else ""
        told = json.dumps({"recipe": "", "note": note})
        (tmp_path / f"data/models/{name}.json").write_text(told)
    lines = results(tmp_path).splitlines()
    assert [line.split()[0] for line in lines if " % to " in line] == names
    assert [line for line in lines if line.endswith("(random weights)")] == [
        "  vgg16       90.0 %   85.0 % to 94.0 %  (random weights)"
    ]
    assert lines[-1].endswith("plots/report.html")
