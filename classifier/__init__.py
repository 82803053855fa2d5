"""What the stages share, in rooms; imports between them point one way (docs/design.md).

`base` is the ground of two towers that never meet: `sources` and `images` make arrays of pictures;
`training`, then `networks` and `transfer`, then `evaluation` and `report` make models and judge
them. Only `commands` sees both.
"""

import os
from importlib.util import find_spec

# TensorFlow and Keras read these once, when they are imported, so they are set before any module
# can do so: no environment variable may change a result.
# oneDNN is off by default on a CPU without AVX-512, where it is the largest gain of all.
os.environ["TF_ENABLE_ONEDNN_OPTS"] = "1"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # without its greetings
if find_spec("tensorflow"):  # without it Keras may be tried on JAX or PyTorch
    os.environ["KERAS_BACKEND"] = "tensorflow"  # whatever the shell and ~/.keras/keras.json say
# A training cut short would stand in dvc.lock as a whole one; the third is ONEDNN_MAX_CPU_ISA's old
# name, of which the choice of precision knows nothing; the last compiles what was not asked for.
for name in (
    "KERAS_MAX_EPOCHS",
    "KERAS_MAX_STEPS_PER_EPOCH",
    "DNNL_MAX_CPU_ISA",
    "TF_XLA_FLAGS",
):
    os.environ.pop(name, None)
