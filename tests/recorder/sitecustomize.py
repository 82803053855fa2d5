"""Writes down what a stage does; Python loads it at its start when PYTHONPATH names this folder.

It appends lines of kind and value to $RECORD/STAGE.tsv: `read` (a parameter whose value was asked
for after params.yaml was checked), `opened` (a file of the project that was opened for reading),
and, when the stage ends, `module` (what it had imported). A stage that ends on an error does so by
os._exit, which runs nothing that is registered for the end: it is made to.
"""

import atexit
import importlib.machinery
import os
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn

# Names are text throughout: hear() is told of every file, and a Path costs as much as opening it.
ROOT = os.getcwd() + os.sep  # noqa: PTH109 - see above
# What gives away all values of a section at once.
WHOLE = {"__dict__", "__iter__", "model_dump", "model_dump_json", "__pydantic_serializer__"}


class Recorder(MetaPathFinder):
    """Appends to a file, also from processes that the stage forks."""

    def __init__(self, file: Path) -> None:
        self.descriptor = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        self.sections: dict[int, tuple[str, list[str]]] = {}  # key and leaves, by identity
        self.seen: set[tuple[str, str]] = set()

    def write(self, kind: str, value: str) -> None:
        if (kind, value) not in self.seen:
            self.seen.add((kind, value))
            os.write(self.descriptor, f"{kind}\t{value}\n".encode())

    def hear(self, event: str, arguments: tuple) -> None:
        if event != "open":
            return
        path, mode, flags = arguments
        if not isinstance(path, str | bytes) or (flags or 0) & (os.O_WRONLY | os.O_RDWR):
            return
        name = os.fsdecode(path)
        if not os.path.isabs(name):  # noqa: PTH117 - see ROOT
            name = ROOT + name
        if mode and set(mode) & set("wax+"):
            return
        if name.startswith(ROOT) and os.path.isfile(name):  # noqa: PTH113 - see ROOT
            self.write("opened", name.removeprefix(ROOT))

    def at_end(self) -> None:
        for name in sorted(sys.modules):
            self.write("module", name)

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """Let classifier.base.params be imported as ever, then listen to it."""
        if name != "classifier.base.params":
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path)
        if spec and spec.loader:
            execute = spec.loader.exec_module

            def listened(module: ModuleType) -> None:
                execute(module)
                self.listen(module)

            # Of this one loader, so that the module is found and compiled as ever; mypy forbids
            # what is meant here, to put another function in a method's place.
            spec.loader.exec_module = listened  # type: ignore[method-assign]
        return spec

    def listen(self, module: Any) -> None:
        load, plain = module.load_params, module.Section.__getattribute__

        def load_params(*arguments: Any) -> Any:
            self.sections.clear()  # of what is gone: identities are used again
            params = load(*arguments)  # checking asks for values too: it does not count
            self.place(params, "")
            return params

        def getattribute(section: Any, name: str) -> Any:
            value = plain(section, name)
            prefix, inner = self.sections.get(id(section), ("", []))
            for leaf in inner:
                if name in WHOLE or leaf == prefix + name:
                    self.write("read", leaf)
            return value

        module.load_params = load_params
        module.Section.__getattribute__ = getattribute

    def place(self, section: Any, prefix: str) -> list[str]:
        """Remember where in params.yaml each section stands and which leaves are below it."""
        below: list[str] = []
        for name in type(section).model_fields:
            inner = getattr(section, name)  # not yet in self.sections: nothing is written down
            is_section = hasattr(type(inner), "model_fields")
            below += self.place(inner, f"{prefix}{name}.") if is_section else [prefix + name]
        self.sections[id(section)] = prefix, below
        return below


def start() -> None:
    command = sys.orig_argv
    name = command[command.index("-m") + 1] if "-m" in command[:-1] else ""
    if name.startswith("stages.") and "RECORD" in os.environ:
        # Processes that the stage starts anew write to its file as well.
        os.environ["RECORD_STAGE"] = name.removeprefix("stages.")
    if "RECORD_STAGE" in os.environ:
        stage = os.environ["RECORD_STAGE"]
        recorder = Recorder(Path(os.environ["RECORD"]) / f"{stage}.tsv")
        sys.meta_path.insert(0, recorder)
        sys.addaudithook(recorder.hear)
        atexit.register(recorder.at_end)
        end = os._exit

        def end_recorded(status: int) -> NoReturn:
            recorder.at_end()
            end(status)

        os._exit = end_recorded


start()
