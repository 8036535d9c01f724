"""The machine that a result is made on: processor, threads, versions; and starting TensorFlow without its log."""

import contextlib
import importlib.metadata
import os
import platform
import re
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pnlib.base.errors import InputError

PACKAGES = ("tensorflow", "keras", "numpy", "pandas", "pillow", "scikit-learn", "papermill", "opencv-python-headless")


def environment() -> dict:
    """What a result depends on besides code, data and settings: Python, packages, processor, oneDNN's kernels."""
    return {
        "python": platform.python_version(),
        "packages": {name: importlib.metadata.version(name) for name in PACKAGES},
        "system": platform.system(),
        "processor": processor(),
        "cores": os.cpu_count(),
        "onednn": os.environ.get("TF_ENABLE_ONEDNN_OPTS", ""),
    }


def versions() -> dict[str, str]:
    """Versions of the packages that a training computes with."""
    return {
        name: importlib.metadata.version(name) for name in ("tensorflow", "keras", "numpy", "opencv-python-headless")
    }


def processor() -> str:
    """The processor's kind, without the machine's name."""
    with contextlib.suppress(OSError, IndexError):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")][0]
    return platform.processor() or platform.machine()


def processor_features() -> frozenset[str]:
    """The instruction sets that the processor has, as Linux names them (avx512_bf16…); elsewhere none is known."""
    with contextlib.suppress(OSError):
        if found := re.search(r"^flags\s*:(.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE):
            return frozenset(found[1].split())
    return frozenset()


def best_precision(network: str) -> str:
    """mixed_bfloat16 where it makes training faster, else float32 (docs/performance.md).

    It does on NVIDIA's GPUs from Ampere on. On x86 processors with AVX-512 BF16 it does for the baseline, whose large
    convolutions gain; the small operations of the other networks lose.
    """
    import tensorflow as tf

    if gpus := tf.config.list_physical_devices("GPU"):
        faster = tf.config.experimental.get_device_details(gpus[0]).get("compute_capability", (0, 0)) >= (8, 0)
    else:
        faster = network == "baseline" and "avx512_bf16" in processor_features()
    return "mixed_bfloat16" if faster else "float32"


@contextlib.contextmanager
def environment_with(changed: dict[str, str]) -> Iterator[None]:
    """Set environment variables meanwhile. A kernel that is started then inherits them."""
    before = {name: os.environ.get(name) for name in changed}
    os.environ.update(changed)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name)
            else:
                os.environ[name] = value


def threads() -> int:
    """How many threads decoding may use: OMP_NUM_THREADS, which a study sets for each trial, else all cores."""
    asked = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    return int(asked) if asked.isdecimal() and int(asked) else os.cpu_count() or 1


def keras_on_tensorflow() -> None:
    """See to it that Keras runs on TensorFlow, whatever KERAS_BACKEND and keras.json say.

    Raises:
        InputError: Keras was imported before, and runs on something else.
    """
    os.environ["KERAS_BACKEND"] = "tensorflow"  # counts more than keras.json
    import keras

    if keras.config.backend() != "tensorflow":
        raise InputError(
            f"Keras was started on {keras.config.backend()} before pnlib, which needs TensorFlow: unset KERAS_BACKEND, "
            "and start again."
        )
    keras.config.set_image_data_format("channels_last")
    keras.config.set_floatx("float32")


def show_figures_in_notebooks() -> None:
    """Have a notebook show figures whatever MPLBACKEND says: with another backend than its own it would print them."""
    shell: Any = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    if hasattr(shell, "kernel"):
        from matplotlib.figure import Figure

        if Figure not in shell.display_formatter.formatters["image/png"].type_printers:
            from IPython.core.pylabtools import select_figure_formats

            select_figure_formats(shell, {"png"})


def quiet_tensorflow() -> None:
    """Import TensorFlow without its start-up log, which a notebook would keep as stderr that changes every time.

    TF_CPP_MIN_LOG_LEVEL alone does not silence it (tensorflow issue 100442). So the process's stderr goes to a
    temporary file during the import; if the import fails, what was written is shown.

    oneDNN's kernels are on unless the user has set TF_ENABLE_ONEDNN_OPTS. TensorFlow itself turns them on only for
    processors with instructions for neural networks (AVX512 VNNI and later). With AVX2 alone a training step takes 0.6
    of the time with them too (docs/performance.md).
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    with silenced():
        import tensorflow

        tensorflow.config.list_physical_devices()
        # "5 out of the last 5 calls triggered retracing", with an address in it: several networks do
        tensorflow.get_logger().setLevel("ERROR")
        keras_on_tensorflow()


@contextlib.contextmanager
def silenced() -> Iterator[None]:
    """Keep what the process writes to stderr meanwhile to itself; if something fails, show it."""
    sys.stderr.flush()
    saved = os.dup(2)
    with tempfile.TemporaryFile() as log:
        os.dup2(log.fileno(), 2)
        try:
            yield
        except BaseException:
            log.seek(0)
            os.dup2(saved, 2)
            sys.stderr.write(log.read().decode(errors="replace"))
            raise
        finally:
            os.dup2(saved, 2)
            os.close(saved)
