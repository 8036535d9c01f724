"""Build the page that asks the compact network in a visitor's own browser, into try/dist: `make try`.

Needs the extra `export`, and npm for ONNX Runtime's build for browsers. Any server of static files can serve the
folder; the page asks no other one.
"""

import base64
import hashlib
import json
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

import pnlib
from pnlib.base.machine import quiet_tensorflow
from pnlib.classifier import Classifier
from pnlib.inference import familiar
from pnlib.inference.chest import both_sides, crop_chest
from pnlib.inference.export import local_contrast, standardize, write

HERE = Path(__file__).parent
DIST = HERE / "dist"
RUNTIME = "onnxruntime-web@1.30.0"
INTEGRITY = "sha512-q0y+JrrtukXSzsBWEMccVfqX25LRmosXHF+CaRJmg8pZClzcV7svNc4rKY3jL02Vb7QmRMDs1SigqR4CXAfKYQ=="
RUNTIME_FILES = ("ort.wasm.bundle.min.mjs", "ort-wasm-simd-threaded.wasm")
EXAMPLES = 3  # phantoms of each class


def explained(classifier: Classifier) -> Any:
    """`compact` as one Keras model from gray, (1, 150, 150, 1) float32 from 0 to 255, to all that the page shows.

    Outputs, all float32, in the order in which try.js takes them: the probability of pneumonia (1, 1); Grad-CAM of both
    views, of the whole image and of the chest (1, 150, 150); the chest, as it is cropped (1, 150, 150, 1), all from 0
    to 1; and the likenesses `chest` and `whole` of `familiar`, (1,) each.
    """
    import cv2
    import keras
    from keras import layers, ops

    network = classifier.network
    gray = keras.Input((150, 150, 1), batch_size=1, name="gray")
    chest, crop = crop_chest(gray)
    even = local_contrast(gray / 255.0)
    last = [network.get_layer(f"view{i}_block3").output for i in (1, 2)]
    both = ops.concatenate([even, standardize(crop / 255.0)], axis=-1)
    *maps, probability = keras.Model(network.input, [*last, network.output])(both)
    # The maps' means are all that the last layer sees. So its weights are the gradient, up to a factor.
    kernels = np.split(network.layers[-1].kernel.numpy(), 2)
    heats = [ops.relu(ops.matmul(x, kernel)[..., 0]) for x, kernel in zip(maps, kernels, strict=True)]
    side = heats[0].shape[1]
    heats = [both_sides(cv2.resize(np.eye(side, dtype=np.float32), (side, 150)))(heat) for heat in heats]
    heats = [heat / ops.maximum(ops.max(ops.stack(heats)), 1e-9) for heat in heats]
    small = layers.AveragePooling2D(150 // familiar.SIDE)(even)[..., 0]
    small, mean = small - ops.mean(small), familiar.stored()["mean"] - familiar.stored()["mean"].mean()
    length = ops.maximum(ops.sqrt(ops.sum(ops.square(small))) * float(np.linalg.norm(mean)), 1e-9)
    whole = ops.sum(small * mean, axis=(1, 2)) / length
    return keras.Model(gray, [probability, *heats, crop / 255.0, chest, whole])


def fetch_runtime() -> None:
    """The runtime's files from the npm registry, of one version and one content."""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(["npm", "pack", "--silent", RUNTIME], cwd=folder, check=True, stdout=subprocess.DEVNULL)
        (archive,) = Path(folder).iterdir()
        digest = base64.b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode()
        if f"sha512-{digest}" != INTEGRITY:
            sys.exit(f"The npm registry's {RUNTIME} is not the one that this page was tested with; nothing was built.")
        with tarfile.open(archive) as members:
            for name in RUNTIME_FILES:
                (DIST / name).write_bytes(members.extractfile(f"package/dist/{name}").read())


def main() -> None:
    if shutil.which("npm") is None:
        sys.exit("npm is missing: install Node.js, then run `make try` again.")
    shutil.rmtree(DIST, ignore_errors=True)
    DIST.mkdir()
    fetch_runtime()
    for name in ("index.html", "try.js", "try.css"):
        shutil.copy(HERE / name, DIST)
    quiet_tensorflow()
    write(explained(pnlib.load_reference("compact")), DIST / "compact.onnx")
    dataset = pnlib.find_dataset("demo")
    rows = dataset.rows("test")
    for label, name in enumerate(("normal", "pneumonia")):
        for number, path in enumerate(rows.path[rows.label == label].iloc[:EXAMPLES], start=1):
            shutil.copy(dataset.root / path, DIST / f"{name}-{number}.jpeg")
    settings = {
        "examples": sorted(file.name for file in DIST.glob("*.jpeg")),
        "thresholds": {name: familiar.stored()[name] for name in ("chest", "whole")},
    }
    (DIST / "settings.json").write_text(json.dumps(settings))
    print(f"Built {DIST}. To try it: python -m http.server --bind 127.0.0.1 --directory {DIST}")


if __name__ == "__main__":
    main()
