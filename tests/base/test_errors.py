"""A program ends in one line on what a user can cause."""

import subprocess
import sys

import pytest

from tests.projects import ROOT

PROGRAM = """
import atexit, sys
from types import ModuleType
from classifier.base.errors import UserError, one_line_errors
atexit.register(print, "taken apart")
{before}
with one_line_errors():
    print("some output", end="; ")
    {fault}
"""


def ended(fault: str, before: str = "") -> tuple[int, str, str]:
    program = PROGRAM.format(fault=fault, before=before)
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize(
    ("fault", "status", "told"),
    [
        ("raise UserError('mend this')", 1, "error: mend this\n"),
        ("open('none/such')", 1, "error: No such file or directory: none/such\n"),
        ("raise KeyboardInterrupt", 130, "interrupted\n"),
    ],
)
def test_what_a_user_can_cause_is_one_line(fault, status, told):
    assert ended(fault) == (status, "some output; taken apart\n", told)


def test_a_bug_keeps_its_trace():
    status, _, told = ended("1 / 0")
    assert status == 1
    assert told.startswith("Traceback")
    assert told.endswith("ZeroDivisionError: division by zero\n")


def test_once_tensorflow_is_loaded_the_interpreter_is_not_taken_apart():
    loaded = "sys.modules['tensorflow'] = ModuleType('tensorflow')"
    fault = "raise KeyboardInterrupt"
    assert ended(fault, loaded) == (130, "some output; ", "interrupted\n")
