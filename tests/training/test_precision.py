"""The machine is asked, never assumed; a guess is confirmed by a measurement."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from classifier.training import precision
from classifier.training.precision import REQUIRED_GAIN, choose


@pytest.fixture
def machine(monkeypatch):
    """A machine of one's choice; what is asked of it is listed."""
    asked = []

    def make(capability=None, flags=(), gain=None):
        def measured():
            asked.append("measurement")
            assert gain is not None, "nothing to measure"
            return gain

        def seen():
            asked.append("flags")
            return set(flags)

        monkeypatch.setattr(precision, "_gpu_capability", lambda: capability)
        monkeypatch.setattr(precision, "cpu_flags", seen)
        monkeypatch.setattr(precision, "_bfloat16_gain", measured)
        return asked

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


@pytest.mark.parametrize("flags", [(), ("avx2", "fma"), ("avx512f", "avx512vl"), ("amx_tile",)])
def test_a_cpu_without_the_instructions_computes_in_float32_unmeasured(machine, flags):
    asked = machine(flags=flags)
    chosen = choose("auto")
    assert (chosen.policy, chosen.device) == ("float32", "cpu")
    assert "no bfloat16 instructions" in chosen.reason
    assert asked == ["flags"]


@pytest.mark.parametrize("flag", ["amx_bf16", "avx512_bf16"])
def test_a_cpu_that_is_fast_at_it_computes_in_bfloat16(machine, flag):
    asked = machine(flags=("avx2", flag), gain=4.02)
    chosen = choose("auto")
    assert (chosen.policy, chosen.device) == ("mixed_bfloat16", "cpu")
    assert flag in chosen.reason
    assert "measured 4.0 times float32's speed" in chosen.reason
    assert asked == ["flags", "measurement"]


@pytest.mark.parametrize("gain", [0.08, 0.9, 1.0, REQUIRED_GAIN - 0.01])
def test_a_slow_measurement_overrules_the_flags(machine, gain):
    machine(flags=("amx_bf16", "avx512_bf16"), gain=gain)
    chosen = choose("auto")
    assert (chosen.policy, chosen.device) == ("float32", "cpu")
    assert f"measured {gain:.1f} times" in chosen.reason


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
    asked = machine(capability=capability, flags=("amx_bf16",), gain=4)
    chosen = choose("auto")
    assert (chosen.policy, chosen.device) == (policy, "gpu")
    assert f"compute capability {capability[0]}.{capability[1]}" in chosen.reason
    assert asked == []


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16", "mixed_float16"])
@pytest.mark.parametrize("capability", [None, (7, 5)])
def test_what_is_asked_for_is_taken(machine, policy, capability):
    asked = machine(capability=capability)
    chosen = choose(policy)
    assert (chosen.policy, chosen.device) == (policy, "gpu" if capability else "cpu")
    assert chosen.reason == "as train.precision says"
    assert asked == []


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


def test_the_measurement_holds_bfloat16_against_float32(monkeypatch):
    seconds = {"float32": 0.6, "bfloat16": 0.2}
    monkeypatch.setattr(precision, "_conv_seconds", lambda images, kernel, dtype: seconds[dtype])
    assert precision._bfloat16_gain() == pytest.approx(3)


def test_the_measurement_times_a_convolution_in_its_precision(monkeypatch):
    computed = []
    conv = keras.ops.conv

    def recorded(x, kernel, **options):
        result = conv(x, kernel, **options)
        computed.append(keras.backend.standardize_dtype(result.dtype))
        return result

    monkeypatch.setattr(keras.ops, "conv", recorded)
    images, kernel = np.ones((1, 4, 4, 2), np.float32), np.ones((3, 3, 2, 2), np.float32)
    assert precision._conv_seconds(images, kernel, "bfloat16") > 0
    assert set(computed) == {"bfloat16"}
    assert len(computed) > 1  # the first one does not count


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
