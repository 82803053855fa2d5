"""A sweep on real Ray nodes: it gives what DVC makes in sequence, whatever is lost."""

import asyncio
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from classifier.__main__ import main
from classifier.base.errors import UserError
from classifier.commands import sweep_node
from classifier.commands.sweep import (
    Cluster,
    Progress,
    clean_commit,
    expand,
    finished,
    reach,
    schedule,
    slots,
)
from classifier.commands.sweep_node import Experiment, Outcome, Slot, Sweep, work
from tests.projects import Project, clean_process, new_project

pytest.importorskip("ray", reason="requirements-cluster.txt is not installed")

DVC = [sys.executable, "-m", "dvc"]
COMMAND = [sys.executable, "-m", "classifier", "sweep"]


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Project:
    """A checkout whose stages are stood for, and whose nodes work below its own temporary folder.

    Its last sweep has not run; tests clone it.
    """
    return new_project(tmp_path_factory.mktemp("sweep"), puppet=True)


@pytest.fixture
def project(made, tmp_path) -> Project:
    clone = made.clone(tmp_path)
    clone.environment["TMPDIR"] = str(tmp_path / "node")
    (tmp_path / "node").mkdir()
    return clone


@pytest.fixture
def cluster(project, monkeypatch):
    """Two nodes of one core each on this machine."""
    from ray.cluster_utils import Cluster as Nodes

    monkeypatch.setenv("TMPDIR", project.environment["TMPDIR"])
    monkeypatch.setenv("RAY_TMPDIR", "/tmp")  # sockets have short names only
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")  # no token in the tester's home
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    head = {"num_cpus": 1, "include_dashboard": False, "ray_client_server_port": port}
    nodes = Nodes(initialize_head=True, head_node_args=head)
    nodes.client = f"ray://127.0.0.1:{port}"  # its workers see nothing of this checkout
    nodes.second = nodes.add_node(num_cpus=1)
    nodes.wait_for_nodes()
    yield nodes
    nodes.shutdown()


def sweep(project, address, *arguments, fails=False) -> str:
    return project.run(*COMMAND, "--address", address, *arguments, fails=fails)


def experiment_files(project, name) -> dict[str, str]:
    """Every tracked file of an experiment that a run makes, with its content's hash."""
    [ref] = project.run(
        "git", "for-each-ref", "--format=%(refname)", f"refs/exps/*/*/{name}"
    ).split()
    listed = project.run("git", "ls-tree", "-r", ref).splitlines()
    rows = (line.split(None, 3) for line in listed)
    return {path: sha for _, _, sha, path in rows if path.startswith(("metrics", "plots", "dvc.l"))}


@pytest.mark.long  # a minute: nodes start, and each experiment is a dozen runs of DVC
def test_four_experiments_on_two_nodes_are_those_of_a_sequence(project, cluster, tmp_path):
    project.dvc("repro", "split")
    project.commit()
    said = sweep(project, cluster.client, "-n", "a", "-S", "seed=range(1,5)", "--bring", "models")
    names = [f"a-{i}" for i in range(1, 5)]
    for name in names:
        assert f"{name}: ended" in said
    assert set(re.findall(r"starting on \S+ place (\d)", said)) == {"0", "1"}

    assert "starting" not in sweep(project, cluster.client, "-n", "a", "-S", "seed=range(1,5)")
    wrong = sweep(project, cluster.client, "-n", "a", "-S", "seed=range(2,5)", fails=True)
    assert "a-1 exists, but with other parameters" in wrong

    (tmp_path / "sequence").mkdir()
    sequence = project.clone(tmp_path / "sequence")
    for i, name in enumerate(names, start=1):
        sequence.dvc("exp", "run", "-n", name, "-S", f"seed={i}")
        assert experiment_files(project, name) == experiment_files(sequence, name)

    project.dvc("exp", "apply", "a-3")
    sequence.dvc("exp", "apply", "a-3")
    brought, expected = (p.root / "data/models/baseline.keras" for p in (project, sequence))
    assert brought.read_bytes() == expected.read_bytes()
    assert "a-3" in project.dvc("exp", "list")
    assert "on a CPU" in project.run("git", "log", "-1", "--format=%B", "--all", "--grep=a-3, on")


@pytest.mark.long  # a minute: nodes start, and each experiment is a dozen runs of DVC
def test_what_is_shared_comes_from_the_remote_and_results_go_there(project, cluster, tmp_path):
    remote = tmp_path / "remote"
    project.dvc("remote", "add", "-d", "storage", str(remote))
    project.commit()
    sweep(project, cluster.address, "-n", "a", "-S", "seed=7")
    assert any(remote.rglob("*"))
    node = Path(project.environment["TMPDIR"])
    shutil.rmtree(next(node.glob("classifier-sweep-*")))
    sweep(project, cluster.address, "-n", "b", "-S", "seed=8")
    log = (project.root / ".cache/sweep/b-1.log").read_text()
    assert "Stage 'split' is cached" in log or "didn't change" in log
    assert "Running stage 'split'" not in log
    project.dvc("exp", "apply", "b-1", fails=True)  # what DVC says of files that it has to pull
    project.dvc("pull")
    assert project.dvc("status").strip().endswith("up to date.")


@pytest.mark.long  # a minute: nodes start, and each experiment is a dozen runs of DVC
def test_an_experiment_whose_node_dies_runs_on_another(project, cluster):
    running = start(project, cluster.client, "-n", "a", "-S", "seed=range(1,3)")
    said = until(running, r"a-\d: starting on \S+ place 1")
    cluster.remove_node(cluster.second, allow_graceful=False)
    said += running.communicate(timeout=300)[0]
    assert running.returncode == 0, said
    assert re.search(r"a-\d: lost on .*: again", said)
    listed = project.dvc("exp", "list", "--name-only").split()
    assert sorted(name for name in listed if name.startswith("a-")) == ["a-1", "a-2"]


@pytest.mark.long  # a minute: nodes start, and each experiment is a dozen runs of DVC
def test_ctrl_c_keeps_what_has_ended_and_the_next_call_runs_the_rest(project, cluster):
    running = start(project, cluster.client, "-n", "a", "-S", "seed=range(1,6)")
    said = until(running, r"a-\d: ended")
    os.kill(running.pid, signal.SIGINT)
    said += running.communicate(timeout=60)[0]
    assert running.returncode == 130, said
    ended = set(re.findall(r"(a-\d): ended", said))
    again = sweep(project, cluster.client, "-n", "a", "-S", "seed=range(1,6)")
    assert set(re.findall(r"(a-\d): has ended before", again)) == ended
    assert set(re.findall(r"(a-\d): ended", again)) == {f"a-{i}" for i in range(1, 6)} - ended


def start(project, address, *arguments) -> subprocess.Popen:
    return subprocess.Popen(
        [*COMMAND, "--address", address, *arguments],
        cwd=project.root,
        env=project.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),  # noqa: PLW1509 - no threads here
    )


def until(running, pattern) -> str:
    said = ""
    for line in running.stdout:
        said += line
        if re.search(pattern, said):
            return said
    raise AssertionError(said)


# What is told before anything is sent, and what fails for its own fault


@pytest.mark.long  # a minute: nodes start, and each experiment is a dozen runs of DVC
def test_an_experiments_own_failure_is_a_line_and_is_not_repeated(project, cluster):
    puppet = project.root / "puppet.py"
    puppet.write_text("raise SystemExit('error: this stage cannot work')\n")
    project.commit()
    said = sweep(project, cluster.address, "-n", "a", "-S", "seed=2", fails=True)
    assert said.count("starting") == 1
    assert re.search(r"a-1: failed: error: this stage cannot work \(\S+\); its log: \S+\.log", said)
    assert said.rstrip().endswith("error: 1 of 1 experiments failed: a-1")
    assert not list(Path(project.environment["TMPDIR"]).rglob("*.bundle"))


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("train.epochs=none", "params.yaml: train.epochs is 'none'"),
        ("train.epoch=3", "train.epoch"),
        ("train.epochs=[1", "-S train.epochs=[1"),
        ("other.yaml:train.epochs=1", "-S other.yaml:"),
    ],
)
def test_parameters_are_checked_before_anything_is_sent(made, monkeypatch, override, words):
    monkeypatch.chdir(made.root)
    with pytest.raises(UserError) as error:
        expand("a", [override])
    assert words in str(error.value)
    assert len(str(error.value).splitlines()) == 1


@pytest.mark.parametrize(
    "name", ["../x", "x/../../y", "/x", "..", "a..b", ".x", "-x", "a b", "ä", ""]
)
def test_a_name_that_leads_out_of_the_workplace_is_refused_before_anything_else(name):
    with pytest.raises(UserError) as told:
        main(["sweep", f"--name={name}", "-S", "other.yaml:seed=1"])
    assert str(told.value).startswith(f"--name is {name!r}, allowed: letters, digits and -_., ")


@pytest.mark.parametrize("others", [[], ["train.epochs=1,2"]])
def test_a_range_without_any_value_is_told(made, monkeypatch, others):
    monkeypatch.chdir(made.root)
    with pytest.raises(UserError, match=r"^-S seed=range\(1,1\): no value, so no experiment$"):
        expand("a", ["seed=range(1,1)", *others])


def test_lists_and_ranges_are_expanded_as_dvc_does(made, monkeypatch):
    monkeypatch.chdir(made.root)
    found = expand("x", ["seed=range(1,3)", "augment.dropout=0.3,0.5"])
    assert [one.name for one in found] == ["x-1", "x-2", "x-3", "x-4"]
    assert {one.overrides for one in found} == {
        (f"seed={seed}", f"augment.dropout={dropout}") for seed in (1, 2) for dropout in (0.3, 0.5)
    }


def test_a_dirty_tree_is_refused_naming_the_files(project, monkeypatch):
    monkeypatch.chdir(project.root)
    (project.root / "params.yaml").write_text(project.read("params.yaml") + "\n")
    (project.root / "new.py").touch()
    with pytest.raises(UserError, match=r"are not: params\.yaml, new\.py$"):
        clean_commit()


@pytest.mark.slow
def test_only_an_experiment_whose_stages_all_ran_has_ended_before(project, monkeypatch, tmp_path):
    clean_process(monkeypatch, tmp_path / "home")
    monkeypatch.chdir(project.root)
    commit = project.run("git", "rev-parse", "HEAD").strip()
    whole, checked = Experiment("a-1", ("seed=71",)), Experiment("a-2", ("seed=72",))
    project.dvc("exp", "run", "--temp", "-n", "a-1", "-S", "seed=71")
    project.dvc("exp", "run", "--temp", "-n", "a-2", "-S", "seed=72", "check")
    assert finished(whole, commit)
    assert not finished(Experiment("a-3", ("seed=73",)), commit)
    with pytest.raises(UserError, match=r"^a-2 exists, but download did not run with these param"):
        finished(checked, commit)


@pytest.mark.parametrize("scheme", ["", "ray://"])
def test_an_address_where_nobody_answers_is_a_line(project, scheme):
    with socket.socket() as taken:  # a port that is free as long as nobody listens
        taken.bind(("127.0.0.1", 0))
        address = f"{scheme}127.0.0.1:{taken.getsockname()[1]}"
        said = project.run(*COMMAND, "-n", "a", "-S", "seed=2", "--address", address, fails=True)
    assert said.splitlines()[-1].startswith(f"error: no Ray cluster answers at {address}: ")


def test_an_address_that_drops_what_is_sent_is_a_line(monkeypatch):
    def silent(address, timeout):
        assert address == ("::1", 6379)
        assert timeout <= 10
        raise TimeoutError("timed out")

    monkeypatch.setattr("socket.create_connection", silent)
    with pytest.raises(UserError, match=r"no Ray cluster answers at \[::1\]:6379: timed out"):
        reach("[::1]:6379")


@pytest.mark.parametrize("address", ["host", "ray://host", "host:port", ":6379", "127.0.0.1:99999"])
def test_what_is_no_address_is_a_line(address):
    with pytest.raises(UserError, match=address):
        reach(address)


def test_what_is_sent_needs_no_checkout_of_the_project_on_the_nodes(tmp_path):
    from ray import cloudpickle

    cloudpickle.register_pickle_by_value(sweep_node)
    try:
        sent = cloudpickle.dumps((sweep_node.task, sweep_node.Board, Experiment("a", ())))
    finally:
        cloudpickle.unregister_pickle_by_value(sweep_node)
    load = (sys.executable, "-I", "-c", "import pickle, sys; pickle.load(sys.stdin.buffer)")
    subprocess.run(load, input=sent, cwd=tmp_path, check=True)


@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="only root mounts a small disk")
def test_a_full_disk_on_a_node_is_a_line(project, tmp_path, monkeypatch):
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(disk)], check=True)
    try:
        monkeypatch.setattr(sweep_node.tempfile, "gettempdir", lambda: str(disk))
        file = tmp_path / "commit.bundle"
        project.run("git", "bundle", "create", "-q", str(file), "HEAD")
        commit = project.run("git", "rev-parse", "HEAD").strip()
        outcome = work(
            Experiment("a-1", ()),
            Sweep(commit, "", ("T", "t@example.org"), models=False),
            file.read_bytes(),
            Slot("n", "host", 1, 0, 0),
            lambda words: None,
        )
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)
    assert "No space left on device" in outcome.failure
    assert outcome.failure.endswith("(host)")
    assert len(outcome.failure.splitlines()) == 1


# Where experiments run


class Nodes:
    def __init__(self, *resources: dict[str, float]) -> None:
        self.resources = resources

    def nodes(self) -> list[dict]:
        return [
            {"Alive": True, "NodeID": str(i), "NodeManagerHostname": f"h{i}", "Resources": one}
            for i, one in enumerate(self.resources)
        ]


@pytest.mark.parametrize(
    ("resources", "cluster", "found"),
    [
        ([{"CPU": 8}, {"CPU": 4}], Cluster(), [("h0", 8, 0), ("h1", 4, 0)]),
        ([{"CPU": 8}], Cluster(cpus=3), [("h0", 3, 0), ("h0", 3, 0)]),
        ([{"CPU": 8, "GPU": 2}, {"CPU": 4}], Cluster(), [("h0", 4, 1), ("h0", 4, 1)]),
        ([{"CPU": 8, "GPU": 4}], Cluster(gpus=2), [("h0", 4, 2), ("h0", 4, 2)]),
        ([{"CPU": 8, "GPU": 2}], Cluster(gpus=0), [("h0", 8, 0)]),
        ([{"CPU": 0}, {"CPU": 2}], Cluster(), [("h1", 2, 0)]),
    ],
)
def test_one_experiment_a_gpu_or_one_a_node_with_all_its_cores(resources, cluster, found):
    assert [(s.host, s.cpus, s.gpus) for s in slots(Nodes(*resources), cluster)] == found


@pytest.mark.long
def test_a_hundred_nodes_lose_less_than_a_fiftieth_to_scheduling(capsys, monkeypatch):
    import ray

    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")  # no token in the tester's home
    ray.init(address="local", num_cpus=1, include_dashboard=False, log_to_driver=False)
    try:

        @ray.remote(num_cpus=0, max_concurrency=200)
        class Sleeper:
            async def sleep(self, seconds: float) -> Outcome:
                await asyncio.sleep(seconds)
                return Outcome()

        sleeper = Sleeper.remote()
        ray.get(sleeper.sleep.remote(0))
        nodes = [Slot(str(i), f"h{i}", 1, 0, 0) for i in range(100)]
        experiments = [Experiment(f"a-{i}", ()) for i in range(1000)]
        started = time.monotonic()
        schedule(
            ray,
            experiments,
            lambda: nodes,
            lambda experiment, slot: sleeper.sleep.remote(10.0),
            lambda experiment, outcome: "ended",
            Progress(experiments),
        )
        lost = (time.monotonic() - started) / (10 * 10.0) - 1
    finally:
        ray.shutdown()
    assert capsys.readouterr().out.count(": ended") == 1000
    with capsys.disabled():
        print(f"\nlost to scheduling: {lost:.2%}")
    assert lost < 0.02


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_eight_experiments_on_two_cores_are_sooner_done_by_two_nodes(
    project, cluster, tmp_path, capsys
):
    """Real trainings, each on one core, against one after the other on both; start-up apart."""
    real = new_project(tmp_path / "real")
    real.environment["TMPDIR"] = project.environment["TMPDIR"]
    real.run(*DVC, "repro", "split")
    real.commit()
    sweep(real, cluster.address, "-n", "warm", "-S", "seed=range(101,103)")

    running = start(real, cluster.address, "-n", "a", "-S", "seed=range(1,9)")
    said = until(running, "starting on")
    begun = time.monotonic()
    said += running.communicate()[0]
    nodes = time.monotonic() - begun
    assert said.count(": ended") == 8

    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(cores)[:2])
    try:
        begun = time.monotonic()
        for seed in range(1, 9):
            real.run(*DVC, "exp", "run", "--name", f"b-{seed}", "-S", f"seed={seed}")
        sequence = time.monotonic() - begun
    finally:
        os.sched_setaffinity(0, cores)
    with capsys.disabled():
        print(f"\neight experiments: {sequence:.0f} s in sequence, {nodes:.0f} s on two nodes")
    assert nodes < sequence
