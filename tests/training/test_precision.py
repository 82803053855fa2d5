"""The machine is asked, never assumed."""

import keras
import pytest
import tensorflow as tf

from classifier.training import precision
from classifier.training.precision import choose


@pytest.fixture
def machine(monkeypatch):
    """A machine of one's choice."""
    monkeypatch.delenv("ONEDNN_MAX_CPU_ISA", raising=False)

    def make(capability=None, flags=()):
        monkeypatch.setattr(precision, "_gpu_capability", lambda: capability)
        monkeypatch.setattr(precision, "cpu_flags", lambda: set(flags))

    return make


def test_the_environment_tells_machines_and_libraries_apart(machine, monkeypatch):
    found = []
    for capability, flags in [(None, ["avx2"]), (None, ["avx2", "avx512f"]), ((9, 0), ["avx2"])]:
        machine(capability=capability, flags=flags)
        found.append(precision.environment())
    machine(flags=["avx2", "something_else"])
    assert precision.environment() == found[0]
    monkeypatch.setattr(precision, "version", lambda name: "1.0")
    found.append(precision.environment())
    assert len(set(found)) == 4


def test_the_environment_tells_numbers_of_threads_apart(machine, monkeypatch):
    machine(flags=["avx2"])
    monkeypatch.delenv("TF_NUM_INTRAOP_THREADS", raising=False)
    found = []
    for cores in ({0, 1}, {1}):
        monkeypatch.setattr(precision.os, "sched_getaffinity", lambda process, cores=cores: cores)
        found.append(precision.environment())
    monkeypatch.setenv("TF_NUM_INTRAOP_THREADS", "4")
    found.append(precision.environment())
    assert len(set(found)) == 3


@pytest.mark.parametrize("flags", [(), ("avx2", "fma"), ("avx512f", "avx512vl"), ("amx_tile",)])
def test_a_cpu_without_the_instructions_computes_in_float32(machine, flags):
    machine(flags=flags)
    chosen = choose("auto")
    assert (chosen.policy, chosen.device) == ("float32", "cpu")
    assert "no bfloat16 instructions" in chosen.reason


needs_tensorflow = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="bfloat16 on a CPU is for TensorFlow"
)


@needs_tensorflow
@pytest.mark.parametrize("flags", [["amx_bf16"], ["avx512_bf16"], ["amx_bf16", "avx512_bf16"]])
def test_a_cpu_that_is_fast_at_it_computes_in_bfloat16(machine, flags):
    machine(flags=("avx2", *flags))
    chosen = choose("auto")
    assert (chosen.policy, chosen.device) == ("mixed_bfloat16", "cpu")
    assert chosen.reason == f"the CPU has {' and '.join(flags)}"


def test_another_backend_computes_in_float32_on_a_cpu(machine, monkeypatch):
    machine(flags=("amx_bf16", "avx512_bf16"))
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    chosen = choose("auto")
    assert (chosen.policy, chosen.device) == ("float32", "cpu")
    assert "TensorFlow" in chosen.reason


@needs_tensorflow
@pytest.mark.parametrize(
    ("limit", "policy"),
    [
        ("AVX2", "float32"),
        ("avx512_core_vnni", "float32"),
        ("AVX512_CORE_BF16", "mixed_bfloat16"),
        ("avx512_core_amx", "mixed_bfloat16"),
        ("ALL", "mixed_bfloat16"),
        ("", "mixed_bfloat16"),
    ],
)
def test_a_limit_on_the_instructions_is_heeded(machine, monkeypatch, limit, policy):
    machine(flags=("amx_bf16", "avx512_bf16"))
    unlimited = precision.environment()
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", limit)
    assert choose("auto").policy == policy
    assert (precision.environment() == unlimited) == (limit in ("ALL", ""))


@pytest.mark.parametrize(
    ("capability", "policy"),
    [
        ((10, 0), "mixed_bfloat16"),
        ((9, 0), "mixed_bfloat16"),
        ((8, 0), "mixed_bfloat16"),
        ((7, 5), "mixed_float16"),
        ((7, 0), "mixed_float16"),
        ((6, 1), "float32"),
    ],
)
def test_gpus_by_compute_capability(machine, capability, policy):
    machine(capability=capability, flags=("amx_bf16",))
    chosen = choose("auto")
    assert (chosen.policy, chosen.device) == (policy, "gpu")
    assert f"compute capability {capability[0]}.{capability[1]}" in chosen.reason


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16", "mixed_float16"])
@pytest.mark.parametrize("capability", [None, (7, 5)])
def test_what_is_asked_for_is_taken(machine, policy, capability):
    machine(capability=capability)
    chosen = choose(policy)
    assert (chosen.policy, chosen.device) == (policy, "gpu" if capability else "cpu")
    assert chosen.reason == "as train.precision says"


def test_flags_are_read_as_linux_writes_them(monkeypatch):
    content = "processor\t: 0\nflags\t\t: fpu avx2 amx_bf16 amx_tile\nbugs\t\t: none avx512_bf16\n"
    monkeypatch.setattr(precision.Path, "read_text", lambda self, **options: content)
    assert {"fpu", "amx_bf16"} <= precision.cpu_flags()
    assert "avx512_bf16" not in precision.cpu_flags()


def test_a_system_without_that_file_has_no_flags(monkeypatch):
    def missing(self, **options):
        raise FileNotFoundError

    monkeypatch.setattr(precision.Path, "read_text", missing)
    assert precision.cpu_flags() == set()


def test_a_processor_of_another_kind_has_no_flags(monkeypatch):
    content = "processor\t: 0\nFeatures\t: fp asimd bf16\n"
    monkeypatch.setattr(precision.Path, "read_text", lambda self, **options: content)
    assert not precision.cpu_flags() & precision.BFLOAT16_FLAGS


@pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="pretends to be TensorFlow with GPUs"
)
@pytest.mark.parametrize(
    ("gpus", "details", "capability"),
    [
        ([], {}, None),
        (["a GPU"], {"compute_capability": (9, 0)}, (9, 0)),
        (["a GPU"], {}, (0, 0)),
    ],
)
def test_tensorflow_is_asked_for_gpus(monkeypatch, gpus, details, capability):
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: gpus)
    monkeypatch.setattr(tf.config.experimental, "get_device_details", lambda device: details)
    assert precision._gpu_capability() == capability
    assert choose("auto").device == ("gpu" if gpus else "cpu")


@pytest.mark.parametrize(
    ("card", "capability", "hidden", "said"),
    [
        (True, None, None, True),
        (True, (8, 0), None, False),
        (False, None, None, False),
        (True, None, "", False),  # whoever hides the cards knows of them
    ],
)
def test_a_gpu_that_tensorflow_cannot_use_is_told_in_a_line(
    machine, monkeypatch, tmp_path, capsys, card, capability, hidden, said
):
    machine(capability=capability)
    monkeypatch.setattr(precision, "NVIDIA", tmp_path / "nvidia0")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if hidden is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", hidden)
    if card:
        (tmp_path / "nvidia0").touch()
    choose("float32")
    told = capsys.readouterr().out
    assert told.count("\n") == said
    assert ("requirements-gpu.txt" in told) == said
