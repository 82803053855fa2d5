"""What a node of the cluster does for one experiment of a sweep; sent to it by value.

It imports nothing of this project: the commit that runs there comes in a git bundle, and may be
another one than the node has installed.
"""

import io
import os
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable
from configparser import ConfigParser
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

PROGRESS = re.compile(r"^(?:Running stage '(?P<stage>\w+)'|Epoch (?P<epoch>\d+/\d+))")
SHARED = ("downloads", "features", "checkpoints")  # of .cache: the same for all clones of a node


@dataclass(frozen=True)
class Experiment:
    """One combination of overrides."""

    name: str  # of the DVC experiment
    overrides: tuple[str, ...]  # as `dvc exp run -S` takes them


@dataclass(frozen=True)
class Sweep:
    """What is the same for all experiments of a sweep."""

    commit: str  # the baseline, its SHA
    mirror: str  # DATA_MIRROR, or empty
    author: tuple[str, str]  # name and e-mail address of who asked, for the experiments' commits
    models: bool  # whether they come back too


@dataclass(frozen=True)
class Slot:
    """A place where one experiment runs at a time."""

    node: str  # Ray's identifier of the node
    host: str  # the machine's name
    cpus: int  # cores of each experiment there
    gpus: float  # GPUs of each experiment there
    number: int  # of the slot on its host, counted from 0


@dataclass(frozen=True)
class Outcome:
    """How an experiment ended."""

    failure: str = ""  # a line that says why there is no result; empty where there is one
    log: str = ""  # what DVC and the stages printed
    refs: bytes = b""  # a git bundle of the experiment's reference
    files: bytes = b""  # a tar archive of DVC cache objects that were asked for


@dataclass
class Workplace:
    """A clone of the commit on the node's own disk, and what runs in it."""

    folder: Path
    slot: Slot
    mirror: str
    tell: Callable[[str], None]
    log: list[str] = field(default_factory=list)

    def run(self, *command: str, fails: bool = False) -> str:
        """Run a command in the clone; return what it printed.

        Raises:
            FailedError: it failed, unless `fails` allows that.
        """
        process = subprocess.Popen(
            command,
            cwd=self.folder,
            env=self.environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        (self.folder.parent / f"{self.folder.name}.group").write_text(str(process.pid))
        self.limit_cores(process.pid)
        lines = []
        try:
            for line in process.stdout or ():
                lines.append(line)
                self.log.append(line)
                if found := PROGRESS.match(line):
                    self.tell(found["stage"] or f"epoch {found['epoch']}")
            process.wait()
        finally:
            end_group(process.pid)
        if process.returncode and not fails:
            said = [line.strip() for line in lines if line.strip()]
            raise FailedError(
                next((s for s in said if s.startswith("error:")), (said or ["?"])[-1])
            )
        return "".join(lines)

    def dvc(self, *arguments: str, fails: bool = False) -> str:
        """Run DVC in the clone, as `run` does."""
        return self.run(sys.executable, "-m", "dvc", *arguments, fails=fails)

    def has_remote(self) -> bool:
        """Whether the clone's DVC has a default remote."""
        config = ConfigParser(interpolation=None)
        config.read(self.folder / ".dvc/config", encoding="utf-8")
        return config.has_option("core", "remote")

    def environment(self) -> dict[str, str]:
        """Return this node's variables without what Ray adds for its own workers."""
        known = {k: v for k, v in os.environ.items() if not k.startswith(("RAY_", "OMP_"))}
        known["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), known.get("PATH", "")])
        if self.mirror:
            known["DATA_MIRROR"] = self.mirror
        return known

    def limit_cores(self, process: int) -> None:
        """Give the process the cores of its slot; it has threads for as many as it sees."""
        cores = sorted(os.sched_getaffinity(0))
        start = self.slot.number * self.slot.cpus % len(cores)
        with suppress(OSError):  # it may have ended already
            if self.slot.cpus < len(cores):
                os.sched_setaffinity(process, cores[start : start + self.slot.cpus])


class FailedError(Exception):
    """The experiment's own failure, in a line."""


def task(experiment: Experiment, sweep: Sweep, bundle: bytes, slot: Slot, board: Any) -> Outcome:
    """Do `work` as a task of Ray that tells a `Board`."""
    return work(experiment, sweep, bundle, slot, lambda s: board.put.remote(experiment.name, s))


class Board:
    """Where running experiments say what they do; an actor."""

    def __init__(self) -> None:
        self.words: dict[str, str] = {}

    def put(self, name: str, words: str) -> None:
        """Replace what an experiment says."""
        self.words[name] = words

    def all(self) -> dict[str, str]:
        """Return the last words of each experiment, by name."""
        return self.words


def work(
    experiment: Experiment,
    sweep: Sweep,
    bundle: bytes,
    slot: Slot,
    tell: Callable[[str], None],
) -> Outcome:
    """Run an experiment in a clone of its own.

    Args:
        experiment: to run.
        sweep: what it shares with others.
        bundle: git's, with the baseline commit.
        slot: where it runs.
        tell: hears in a word or two what happens.
    """
    node = Path(tempfile.gettempdir()) / f"classifier-sweep-{os.getuid()}"
    place = Workplace(node / experiment.name, slot, sweep.mirror, tell)
    try:
        node.mkdir(mode=0o700, exist_ok=True)
        clone(place, sweep, bundle)
        share(place, experiment)
        identity = f"{experiment.name}, on {machine()}"
        overrides = [part for one in experiment.overrides for part in ("-S", one)]
        place.dvc("exp", "run", "-n", experiment.name, "-m", identity, *overrides)
        if place.has_remote():
            tell("pushing")
            place.dvc("push", "--run-cache", "-q")
        outcome = Outcome(
            "", "".join(place.log), refs(place, experiment), files(place, models=sweep.models)
        )
    except (FailedError, OSError) as error:
        return Outcome(f"{error} ({slot.host})", "".join(place.log))
    finally:
        shutil.rmtree(place.folder, ignore_errors=True)
    return outcome


def clone(place: Workplace, sweep: Sweep, bundle: bytes) -> None:
    """Make the clone anew; what a lost worker left running there is ended first."""
    left = place.folder.parent / f"{place.folder.name}.group"
    if left.exists():
        end_group(int(left.read_text() or 0), only_in=place.folder)
    shutil.rmtree(place.folder, ignore_errors=True)
    place.folder.mkdir()
    file = place.folder.parent / f"{place.folder.name}.bundle"
    file.write_bytes(bundle)
    place.run("git", "init", "-q")
    place.run("git", "fetch", "-q", str(file), "HEAD")
    place.run("git", "checkout", "-q", "-B", "sweep", sweep.commit)
    file.unlink()
    for key, value in zip(("user.name", "user.email"), sweep.author, strict=True):
        place.run("git", "config", key, value)
    cache = place.folder.parent / "dvc"
    (place.folder / ".dvc/config.local").write_text(f"[cache]\n    dir = {cache}\n")
    for name in SHARED:
        target = place.folder.parent / "cache" / name
        target.mkdir(parents=True, exist_ok=True)
        (place.folder / ".cache").mkdir(exist_ok=True)
        (place.folder / ".cache" / name).symlink_to(target)


def share(place: Workplace, experiment: Experiment) -> None:
    """Get the pictures and their splits once a node: from the DVC remote, or by their stages.

    What they make goes to the cache that all clones of a node share, and comes from there when the
    experiment itself runs.
    """
    from dvc.utils.hydra import apply_overrides
    from filelock import FileLock

    place.tell("waiting for the pictures")
    with FileLock(place.folder.parent / "share.lock"):
        place.tell("preparing the pictures")
        if place.has_remote():
            place.dvc("pull", "--run-cache", "--allow-missing", "-q", "split", fails=True)
        apply_overrides(place.folder / "params.yaml", list(experiment.overrides))
        place.dvc("repro", "-q", "split")
        place.run("git", "checkout", "-q", "--", ".")


def refs(place: Workplace, experiment: Experiment) -> bytes:
    """Bundle the reference of the experiment's result, without what the baseline has."""
    listed = place.run("git", "for-each-ref", "--format=%(refname)", "refs/exps").split()
    name = next(one for one in listed if one.endswith(f"/{experiment.name}"))
    file = place.folder / ".git" / "back.bundle"
    place.run("git", "bundle", "create", "-q", str(file), name, "^HEAD")
    return file.read_bytes()


def files(place: Workplace, *, models: bool) -> bytes:
    """Pack what DVC's cache holds of the evaluation, of the pictures for people and of models."""
    from ruamel.yaml import YAML

    lock = YAML(typ="safe").load(place.folder / "dvc.lock")
    wanted = ("data/evaluation/", "plots/", *(["data/models/"] if models else []))
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for out in (out for stage in lock["stages"].values() for out in stage.get("outs", [])):
            name = f"files/md5/{out['md5'][:2]}/{out['md5'][2:]}"
            file = place.folder.parent / "dvc" / name
            if out["path"].startswith(wanted) and file.is_file():  # text is in git instead
                archive.add(file, name)
    return packed.getvalue()


def machine() -> str:
    """Name the class of this machine: its GPU, or its CPU's instruction set for arithmetic."""
    with suppress(OSError, subprocess.CalledProcessError):
        query = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
        named = subprocess.run(query, capture_output=True, text=True, check=True).stdout.split("\n")
        if named[0]:
            return str(named[0])
    with suppress(OSError):
        flags = set(Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").split())
        for flag in ("amx_bf16", "avx512_bf16", "avx512f", "avx2"):
            if flag in flags:
                return f"a CPU with {flag}"
    return f"a CPU ({os.uname().machine})"


def end_group(group: int, only_in: Path | None = None) -> None:
    """End a process group; only if its head works in a folder, where one is given."""
    with suppress(OSError):
        if only_in is None or Path(f"/proc/{group}/cwd").resolve() == only_in.resolve():
            os.killpg(group, signal.SIGKILL)
