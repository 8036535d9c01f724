"""File size and speed of every exported format, as a table between the marks of docs/predict.md.

    python benchmarks/exports.py              # 5 minutes on two cores; leave the machine alone meanwhile
    python benchmarks/exports.py --rounds 1   # does it run? Prints the table and writes nothing

Each file and Classifier.predict take turns on the demo's phantoms, 32 at a time on all cores; a ratio is of one round.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

import pnlib
from pnlib.base.files import atomic_write
from pnlib.base.machine import threads
from pnlib.inference.export import KINDS, export, with_preprocessing

PAGE = Path(__file__).parent.parent / "docs" / "predict.md"
NAMES = {".onnx": "ONNX Runtime", ".keras": "Keras", ".tflite": "LiteRT"}
BATCH = 32


def onnx(file: Path) -> Callable:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    return lambda gray: session.run(None, {"gray": gray})[0]


def tflite(file: Path) -> Callable:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(file), num_threads=threads())
    (taken,), (given,) = interpreter.get_input_details(), interpreter.get_output_details()
    interpreter.resize_tensor_input(taken["index"], (BATCH, 150, 150, 1))
    interpreter.allocate_tensors()

    def run(gray: np.ndarray) -> np.ndarray:
        interpreter.set_tensor(taken["index"], gray)
        interpreter.invoke()
        return interpreter.get_tensor(given["index"])

    return run


LOAD = {".onnx": onnx, ".tflite": tflite}


def rate(run: Callable, batches: list[np.ndarray]) -> float:
    """Images per second, after one batch that doesn't count."""
    run(batches[0])
    start = time.perf_counter()
    for batch in batches:
        run(batch)
    return len(batches) * BATCH / (time.perf_counter() - start)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    rounds = parser.parse_args().rounds
    dataset = pnlib.find_dataset("demo")
    images = pnlib.load_images(dataset, dataset.rows("train"))[: 8 * BATCH].reshape(8, BATCH, 150, 150, 1)
    gray = [batch.astype(np.float32) for batch in images]
    lines = ["| network | file | size | images/s over `Classifier.predict` |", "| --- | --- | --- | --- |"]
    for model in ("baseline", "compact"):
        classifier = pnlib.load_reference(model)
        for kind in KINDS:
            with tempfile.TemporaryDirectory() as folder:
                file = export(classifier, Path(folder) / f"{model}{kind}")
                size = file.stat().st_size / 1e6
                # What a .keras file holds, not read back: nothing here loads a file that could execute code.
                run = LOAD[kind](file) if kind in LOAD else with_preprocessing(classifier).predict_on_batch
                ratios = [rate(run, gray) / rate(classifier.predict, list(images)) for _ in range(rounds)]
            spread = f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
            lines.append(f"| {model} | `{kind}`, in {NAMES[kind]} | {size:.0f} MB | {spread} |")
            print(lines[-1], flush=True)
    if rounds > 1:
        page = PAGE.read_text(encoding="utf-8")
        before, after = page.split("<!-- exports -->")[0], page.split("<!-- /exports -->")[1]
        table = "\n".join(lines)
        atomic_write(PAGE, f"{before}<!-- exports -->\n{table}\n<!-- /exports -->{after}")


if __name__ == "__main__":
    main()
