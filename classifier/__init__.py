"""What the stages share: one module a concern."""

import os

# TensorFlow reads these once, when it is imported, so they are set before any module can do so.
# oneDNN is off by default on a CPU without AVX-512, where it is the largest gain of all; and it is
# set, not defaulted, because no environment variable may change a result.
os.environ["TF_ENABLE_ONEDNN_OPTS"] = "1"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # without its greetings
