"""The number format that the machine at hand is fast at."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import keras

# The instructions that multiply bfloat16, as Linux names them.
BFLOAT16_FLAGS = {"amx_bf16", "avx512_bf16"}
# Libraries choose their code by these, and round differently with each.
DISPATCHED_BY = {"avx2", "avx512f", *BFLOAT16_FLAGS}
# The values of ONEDNN_MAX_CPU_ISA that leave TensorFlow's library those instructions.
BFLOAT16_ISAS = ("ALL", "DEFAULT", "BF16", "FP16", "AMX", "AVX10")
NVIDIA = Path("/dev/nvidia0")  # the first card, where its driver has found one
UNUSED_GPU = (
    "this machine has a GPU, but TensorFlow could not load CUDA's libraries and computes on the "
    "CPU: pip install --require-hashes -r requirements-gpu.txt"
)


@dataclass(frozen=True)
class Precision:
    """A Keras dtype policy, why it was chosen, and what computes."""

    policy: str
    reason: str
    device: str  # cpu or gpu


def choose(requested: str) -> Precision:
    """Resolve train.precision; say it in a line where a GPU is there that is not used.

    Args:
        requested: auto, or a Keras dtype policy, which is taken as it is.
    """
    capability = _gpu_capability()
    if not capability and os.environ.get("CUDA_VISIBLE_DEVICES") is None and NVIDIA.exists():
        print(UNUSED_GPU, flush=True)
    if requested != "auto":
        return Precision(requested, "as train.precision says", "gpu" if capability else "cpu")
    if capability:
        return _for_gpu(capability)
    # Nothing is measured: beside other work a measurement comes out differently, and two runs on
    # one machine would choose differently.
    flags = sorted(BFLOAT16_FLAGS & cpu_flags())
    limit = _isa_limit()
    if not flags:
        return Precision("float32", "the CPU has no bfloat16 instructions", "cpu")
    if keras.backend.backend() != "tensorflow":
        return Precision("float32", "only TensorFlow is fast at bfloat16 on a CPU", "cpu")
    if not any(isa in limit for isa in BFLOAT16_ISAS):
        return Precision("float32", f"ONEDNN_MAX_CPU_ISA={limit} leaves out bfloat16", "cpu")
    return Precision("mixed_bfloat16", f"the CPU has {' and '.join(flags)}", "cpu")


@contextmanager
def dtype_policy(name: str) -> Iterator[None]:
    """Make layers that are built in the block compute in this precision."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(name)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def _for_gpu(capability: tuple[int, int]) -> Precision:
    reason = f"a GPU of compute capability {capability[0]}.{capability[1]}"
    if capability >= (8, 0):
        return Precision("mixed_bfloat16", reason, "gpu")
    return Precision("mixed_float16" if capability >= (7, 0) else "float32", reason, "gpu")


def _gpu_capability() -> tuple[int, int] | None:
    """Return the compute capability of the first GPU that Keras's backend would use."""
    # Keras has no name for this: each backend is asked in its own words.
    match keras.backend.backend():
        case "tensorflow":
            import tensorflow as tf

            for device in tf.config.list_physical_devices("GPU"):
                details = tf.config.experimental.get_device_details(device)
                return details.get("compute_capability", (0, 0))
        case "jax":
            import jax

            for device in jax.devices():
                if device.platform == "gpu":
                    major, minor = device.compute_capability.split(".")
                    return int(major), int(minor)
        case "torch":
            import torch

            if torch.cuda.is_available():
                return torch.cuda.get_device_capability()
    return None


def cpu_flags() -> set[str]:
    """Return what the CPU can do, in Linux's words; empty on other systems."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return set()
    return set(next((line for line in lines if line.startswith("flags")), "").split())


def environment() -> str:
    """Say what computes here, in words that differ where results may in the last bits.

    What is kept from one run to the next is used again only under the same words.
    """
    libraries = ("keras", keras.backend.backend(), "numpy", "opencv-python-headless", "pillow")
    device = _gpu_capability() or (sorted(DISPATCHED_BY & cpu_flags()), _isa_limit(), _threads())
    return f"{[(name, version(name)) for name in libraries]} {device}"


def _threads() -> str:
    """Return among how many threads TensorFlow divides an operation: sums depend on it."""
    if asked := os.environ.get("TF_NUM_INTRAOP_THREADS"):
        return asked
    try:
        return str(len(os.sched_getaffinity(0)))
    except AttributeError:  # macOS
        return str(os.cpu_count())


def _isa_limit() -> str:
    """Return what oneDNN may use of the CPU."""
    return (os.environ.get("ONEDNN_MAX_CPU_ISA") or "ALL").upper()
