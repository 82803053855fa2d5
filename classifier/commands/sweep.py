"""A sweep: combinations of parameters as DVC experiments on the nodes of a Ray cluster.

Ray finds free nodes and moves bytes; git carries commits there and results back; DVC runs what is
run. No node needs a shared file system, a git server, or this checkout.
"""

import logging
import os
import socket
import sys
import tarfile
import tempfile
import time
from argparse import Namespace
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

from classifier.base.cache import cache_folder
from classifier.base.errors import UserError
from classifier.base.files import whole, write_text
from classifier.base.params import Params, load_params
from classifier.commands import sweep_node
from classifier.commands.git import checked_name, edited, experiment_ref, git, unrun
from classifier.commands.sweep_node import Experiment, Outcome, Slot, Sweep

TRIES = 3  # of an experiment whose node or worker was lost
POLL = 1.0  # seconds
NO_NODE = 60.0  # seconds without any node before the sweep gives up
CONNECT = 5.0  # seconds for an address to accept a connection


@dataclass(frozen=True)
class Cluster:
    """Where to run: Ray's address (None starts a cluster here), and what an experiment gets."""

    address: str | None = None
    gpus: float | None = None
    cpus: int | None = None


def run(options: Namespace) -> None:
    """Run every combination of the overrides that this commit has no experiment of.

    Raises:
        UserError: something is wrong before anything was sent, or experiments failed.
    """
    name = checked_name(options.name)
    commit = clean_commit()
    experiments = expand(name, options.set_param)
    missing = [one for one in experiments if not finished(one, commit)]
    for one in experiments:
        if one not in missing:
            print(f"{one.name}: has ended before")
    if not missing:
        return
    author = (
        git("config", "--default", "sweep", "user.name").strip(),
        git("config", "--default", "sweep@localhost", "user.email").strip(),
    )
    mirror = os.environ.get("DATA_MIRROR", "")
    mirror = str(Path(mirror).resolve()) if mirror and "://" not in mirror else mirror
    what = Sweep(commit, mirror, author, bool(options.bring))
    cluster = Cluster(options.address, options.gpus, options.cpus)
    with connected(cluster) as ray:
        failed = run_all(ray, missing, what, cluster)
    if failed:
        raise UserError(f"{len(failed)} of {len(missing)} experiments failed: {', '.join(failed)}")


def clean_commit() -> str:
    """Return the current commit.

    Raises:
        UserError: files differ from it, so that it is not what would be seen here; or the history
            is cut off, so that git cannot bundle it.
    """
    changed = edited(untracked=True)
    if changed:
        named = ", ".join(changed[:5]) + (", ..." if len(changed) > 5 else "")
        raise UserError(f"a sweep runs what is committed, and these files are not: {named}")
    if git("rev-parse", "--is-shallow-repository").strip() == "true":
        raise UserError("this clone has no whole history: git fetch --unshallow")
    return git("rev-parse", "HEAD").strip()


def expand(name: str, overrides: list[str]) -> list[Experiment]:
    """Expand DVC's grammar and check the parameters of each combination.

    Raises:
        UserError: an override is not of that grammar, has no value, or none that is allowed.
    """
    from dvc.exceptions import DvcException
    from dvc.utils.cli_parse import to_path_overrides
    from dvc.utils.hydra import get_hydra_sweeps
    from hydra.errors import HydraException

    paths = to_path_overrides(overrides)
    if other := paths.keys() - {"params.yaml"}:
        raise UserError(f"-S {min(other)}:...: a sweep changes params.yaml alone")
    try:
        found = get_hydra_sweeps(paths)
        empty = [one for one in overrides if not get_hydra_sweeps(to_path_overrides([one]))]
        combinations = [tuple(one.get("params.yaml", ())) for one in found]
        for combination in combinations:
            overridden(Path("params.yaml").read_bytes(), combination)
    except (DvcException, HydraException) as error:
        reason = error.__cause__ or error
        raise UserError(f"-S {' '.join(overrides)}: {' '.join(str(reason).split())}") from error
    except UserError as error:
        raise UserError(f"params.yaml{str(error).split('params.yaml', 1)[-1]}") from error
    if empty:
        raise UserError(f"-S {' '.join(empty)}: no value, so no experiment")
    return [Experiment(f"{name}-{i}", one) for i, one in enumerate(combinations, start=1)]


def overridden(params: bytes, overrides: Sequence[str]) -> Params:
    """Check the content of a params.yaml under some overrides, and return what it says."""
    from dvc.utils.hydra import apply_overrides

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "params.yaml"
        file.write_bytes(params)
        apply_overrides(file, list(overrides))
        return load_params(file)


def finished(experiment: Experiment, commit: str) -> bool:
    """Whether the commit has this experiment.

    Raises:
        UserError: it has another experiment of this name, or of some stages alone.
    """
    ref = experiment_ref(commit, experiment.name)
    if not git("for-each-ref", ref).strip():
        return False
    wanted = overridden(git("show", f"{commit}:params.yaml").encode(), experiment.overrides)
    other = wanted != overridden(git("show", f"{ref}:params.yaml").encode(), ())
    if reason := "with other parameters" if other else unrun(ref):
        raise UserError(
            f"{experiment.name} exists, but {reason}: choose another name, or type "
            f"dvc exp remove {experiment.name}"
        )
    return True


@contextmanager
def connected(cluster: Cluster) -> Iterator[Any]:
    """Connect to the cluster, or start one on this machine; yield Ray.

    Raises:
        UserError: Ray is not installed, or nobody answers at the address.
    """
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    if Path("~/.ray/auth_token").expanduser().exists():
        # Ray itself shows its token to a cluster of this machine alone.
        os.environ.setdefault("RAY_AUTH_MODE", "token")
    try:
        import ray
    except ModuleNotFoundError as error:
        raise UserError("Ray is missing: pip install -r requirements-cluster.txt") from error
    if cluster.address and cluster.address != "auto":
        reach(cluster.address)
    try:
        ray.init(
            address=cluster.address or "local",
            log_to_driver=False,
            logging_level=logging.ERROR,
            include_dashboard=False if cluster.address is None else None,
        )
    except (ConnectionError, RuntimeError, ValueError, OSError, ray.exceptions.RayError) as error:
        where = cluster.address or "this machine"
        reason = f"or not without its token: {str(error).strip().splitlines()[-1]}"
        raise UserError(f"no Ray cluster answers at {where}, {reason}") from error
    ray.cloudpickle.register_pickle_by_value(sweep_node)
    try:
        yield ray
    finally:
        ray.shutdown()


def reach(address: str) -> None:
    """Ask within seconds whether somebody listens, as Ray itself waits for minutes, or for ever.

    Raises:
        UserError: nobody does, or it is no address.
    """
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdecimal():
        raise UserError(f"--address {address}: allowed are ray://HOST:10001, HOST:6379 and auto")
    try:
        socket.create_connection((host.strip("[]"), int(port)), CONNECT).close()
    except (OSError, OverflowError, UnicodeError) as error:
        raise UserError(f"no Ray cluster answers at {address}: {error}") from error


def slots(ray: Any, cluster: Cluster) -> list[Slot]:
    """Where experiments can run now.

    With GPUs in the cluster, one experiment a GPU (or `cluster.gpus`); otherwise one a node with
    all its cores, or as many as fit with `cluster.cpus` each.
    """
    alive = [node for node in ray.nodes() if node["Alive"] and node["Resources"].get("CPU", 0) >= 1]
    gpus = cluster.gpus
    if gpus is None:
        gpus = 1.0 if any(node["Resources"].get("GPU") for node in alive) else 0.0
    found: list[Slot] = []
    used: dict[str, int] = {}  # slots of a host: nodes for trying things out share one
    for node in sorted(alive, key=lambda node: str(node["NodeID"])):
        cores, host = int(node["Resources"]["CPU"]), node["NodeManagerHostname"]
        cpus = cluster.cpus or cores
        count = cores // cpus if cluster.cpus or not gpus else cores
        if gpus:
            count = min(count, int(node["Resources"].get("GPU", 0) // gpus))
            cpus = cluster.cpus or max(1, cores // max(1, count))
        for _ in range(count):
            number = used.get(host, 0)
            used[host] = number + 1
            found.append(Slot(node["NodeID"], host, cpus, gpus, number))
    return found


def run_all(ray: Any, experiments: list[Experiment], what: Sweep, cluster: Cluster) -> list[str]:
    """Run experiments and keep what they give; return the names of those that failed."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "commit.bundle"
        git("bundle", "create", "-q", str(file), "HEAD")
        bundle = ray.put(file.read_bytes())
    board = ray.remote(num_cpus=0)(sweep_node.Board).remote()
    task = ray.remote(max_retries=0)(sweep_node.task)

    def start(experiment: Experiment, slot: Slot) -> Any:
        here = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(slot.node, soft=False)
        options = {"num_cpus": slot.cpus, "num_gpus": slot.gpus, "scheduling_strategy": here}
        return task.options(**options).remote(experiment, what, bundle, slot, board)

    import ray.util.scheduling_strategies

    def status() -> dict[str, str]:
        try:
            return dict(ray.get(board.all.remote(), timeout=POLL))
        except ray.exceptions.RayError:
            return {}

    failed: list[str] = []

    def finish(experiment: Experiment, outcome: Outcome) -> str:
        log = cache_folder("sweep") / f"{experiment.name}.log"
        write_text(log, outcome.log)
        if outcome.failure:
            failed.append(experiment.name)
            return f"failed: {outcome.failure}; its log: {log}"
        bring_back(outcome)
        return "ended"

    with Progress(experiments) as progress:
        schedule(ray, experiments, lambda: slots(ray, cluster), start, finish, progress, status)
    return failed


def schedule(
    ray: Any,
    experiments: list[Experiment],
    slots: Callable[[], list[Slot]],
    start: Callable[[Experiment, Slot], Any],
    finish: Callable[[Experiment, Any], str],
    progress: "Progress",
    status: Callable[[], dict[str, str]] = dict,
) -> None:
    """Keep every slot busy until all experiments have ended.

    An experiment whose worker or node was lost starts again elsewhere, `TRIES` times in all. What
    has ended is kept at once, so that Ctrl-C ends what runs and loses nothing else.
    """
    waiting, tries = deque(experiments), dict.fromkeys(experiments, 0)
    running: dict[Any, tuple[Experiment, Slot]] = {}
    known = slots()
    looked = busy = time.monotonic()

    def fill() -> None:
        taken = {slot for _, slot in running.values()}
        for slot in (slot for slot in known if slot not in taken):
            if waiting:
                experiment = waiting.popleft()
                tries[experiment] += 1
                running[start(experiment, slot)] = experiment, slot
                progress.say(experiment.name, f"starting on {slot.host}, place {slot.number}")

    def collect(ref: Any) -> None:
        experiment, slot = running.pop(ref)
        outcome, lost = result(ray, ref)
        if lost and tries[experiment] < TRIES:
            waiting.appendleft(experiment)
            progress.say(experiment.name, f"lost on {slot.host} ({lost}): again")
            return
        if lost:
            outcome = Outcome(f"lost {TRIES} times, last on {slot.host} ({lost})")
        progress.say(experiment.name, finish(experiment, outcome))

    try:
        while waiting or running:
            if time.monotonic() - looked > POLL:
                known, looked, words = slots(), time.monotonic(), status()
                for experiment, _ in running.values():
                    progress.say(experiment.name, words.get(experiment.name))
            fill()
            if running:
                busy = time.monotonic()
                ray.wait(list(running), timeout=POLL)  # until one has ended: often others have too
                ended, _ = ray.wait(list(running), num_returns=len(running), timeout=0)
                for ref in ended:
                    collect(ref)
            elif time.monotonic() - busy > NO_NODE:
                raise UserError(
                    f"the cluster has had no node for {NO_NODE:.0f} s, or none as large as --cpus "
                    "and --gpus ask for"
                )
            else:
                time.sleep(POLL)
    finally:
        for ref in running:
            ray.cancel(ref)
        if running:
            ray.wait(list(running), num_returns=len(running), timeout=10)


def result(ray: Any, ref: Any) -> tuple[Any, str]:
    """Get what a task gave, or how its worker or node was lost; bugs keep their trace."""
    try:
        return ray.get(ref), ""
    except (ray.exceptions.RayTaskError, ray.exceptions.TaskCancelledError):
        raise
    except ray.exceptions.RayError as error:
        return None, type(error).__name__


def bring_back(outcome: Outcome) -> None:
    """Put an experiment's reference into this repository, and its files into DVC's cache."""
    with tempfile.TemporaryDirectory() as folder:
        bundle = Path(folder) / "back.bundle"
        bundle.write_bytes(outcome.refs)
        git("fetch", "-q", str(bundle), "refs/exps/*:refs/exps/*")
    if not outcome.files:
        return
    from dvc.repo import Repo

    with Repo() as repo, tarfile.open(fileobj=BytesIO(outcome.files)) as archive:
        cache = Path(repo.cache.local.path).parents[1]
        for member in archive:
            target = cache / member.name
            if not target.exists() and (content := archive.extractfile(member)):
                with whole(target) as beside:
                    beside.write_bytes(content.read())
                target.chmod(0o444)


class Progress:
    """A line an experiment: redrawn in a terminal, printed when it changes elsewhere."""

    def __init__(self, experiments: list[Experiment]) -> None:
        self.lines = {one.name: "queued" for one in experiments}
        self.since = {one.name: time.monotonic() for one in experiments}
        self.live: Any = None

    def __enter__(self) -> "Progress":
        if sys.stdout.isatty():
            from rich.live import Live

            self.live = Live(get_renderable=self.table, refresh_per_second=1)
            self.live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.live:
            self.live.stop()

    def say(self, name: str, words: str | None) -> None:
        """Put words into an experiment's line; None leaves it as it is."""
        if words is None or self.lines[name] == words:
            return
        self.lines[name], self.since[name] = words, time.monotonic()
        if not self.live:
            print(f"{name}: {words}", flush=True)

    def table(self) -> Any:
        """Build the table of rich that a terminal shows, a row an experiment."""
        from rich.table import Table

        table = Table(box=None, show_header=False)
        for name, words in self.lines.items():
            table.add_row(name, words, f"{time.monotonic() - self.since[name]:.0f} s")
        return table
