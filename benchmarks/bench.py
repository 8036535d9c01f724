"""All speed measurements, as ratios of two contenders in the same run: benchmarks/results.json.

    make bench                                   # about 20 minutes on two cores; leave the machine alone meanwhile
    make bench-quick                             # one round of few images without PyTorch: only that everything runs
    python benchmarks/bench.py --rounds 1 --only step

Each contender runs in a process of its own. Contenders alternate, several rounds; a ratio is of one round. Written are
the median, the lowest and the highest, for this kind of processor; what others gave stays. Peers: benchmarks/peers/.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

import pnlib
from pnlib.base.files import read_json, write_json
from pnlib.base.machine import environment

HERE = Path(__file__).parent
RESULTS = HERE / "results.json"

# {key: (what, target, whether more is better)}
KEYS = {
    "epoch_vs_public": ("images/s of a float32 epoch over the public way", 1.4, True),
    "epoch_vs_public_bfloat16": ("images/s of a bfloat16 epoch over the public way", 2.0, True),
    "epoch_vs_pytorch": ("images/s of a float32 epoch over PyTorch's best float32 step", 1.8, True),
    "epoch_vs_pytorch_bfloat16": ("images/s of a bfloat16 epoch over PyTorch's best step", 1.5, True),
    "step_vs_keras": ("a float32 step: Keras' time over ours", 1.35, True),
    "step_vs_keras_bfloat16": ("a bfloat16 step: Keras' time over ours", 1.35, True),
    "peak_share_float32": ("a step's share of the matrix product's rate, float32", 0.72, True),
    "peak_share_bfloat16": ("a step's share of the matrix product's rate, bfloat16", 0.75, True),
    "pipeline_overhead": ("float32 epoch with files, augmentation, preprocessing over a batch in memory", 1.03, False),
    "pipeline_overhead_bfloat16": ("the same, bfloat16", 1.03, False),
    "inference_vs_predict": ("Classifier.predict of uint8 over Keras' predict of ready tensors, images/s", 1.0, True),
    "inference_onnx_vs_predict": ("the exported ONNX file over the same, images/s", 2.0, True),
    "loading_first": ("first decoding of full-size originals: time of the public way over ours", 2.5, True),
    "loading_cached": ("second start: time of the public way over ours", 50, True),
    "memory_vs_public": ("peak memory of a training process over the public way's", 0.33, False),
    "import_seconds": ("`import pnlib`", 0.3, False),
    "help_seconds": ("`pnlib --help`", 0.3, False),
}  # fmt: skip
BFLOAT16 = ("--precision", "mixed_bfloat16")


def met(key: str, value: dict[str, float]) -> bool:
    """Whether a key's median reaches its target."""
    _, target, more = KEYS[key]
    return value["median"] >= target if more else value["median"] <= target


def run(*line: str, python: str = sys.executable) -> dict:
    """What a contender printed."""
    done = subprocess.run([python, *line], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(line)} failed:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def ours(*line: str) -> dict:
    return run(str(HERE / "ours.py"), *line)


def public(*line: str) -> dict:
    return run(str(HERE / "peers" / "public.py"), *line)


def steps(folder: Path, args: argparse.Namespace) -> dict[str, float]:
    found = {}
    for name, options in ((" float32", ()), (" bfloat16", BFLOAT16)):
        suffix = "" if name == " float32" else "_bfloat16"
        limit = ours("matrix_product", *options)["gflops"]
        plain, fast = ours("step", "--keras", *options), ours("step", *options)
        found["step_vs_keras" + suffix] = fast["images_per_second"] / plain["images_per_second"]
        found["peak_share" + name.replace(" ", "_")] = fast["gflops"] / limit
        found["pipeline_overhead" + suffix] = ours("pipeline", *options)["ratio"]
        per_image = fast["gflops"] / fast["images_per_second"]
        found |= {"step of Keras" + name: plain["images_per_second"], "step" + name: fast["images_per_second"]}
        found["limit: matrix product" + name] = limit / per_image
    return found


def epochs(folder: Path, args: argparse.Namespace) -> dict[str, float]:
    file = str(folder / "images.npz")
    theirs = public("epoch", file)
    mine = {name: ours("epoch", file, *options) for name, options in (("float32", ()), ("bfloat16", BFLOAT16))}
    rate = {name: epoch["images_per_second"] for name, epoch in mine.items()}
    found = {
        "epoch_vs_public": rate["float32"] / theirs["images_per_second"],
        "epoch_vs_public_bfloat16": rate["bfloat16"] / theirs["images_per_second"],
        "memory_vs_public": mine["float32"]["memory"] / theirs["memory"],
        "memory, MB": mine["float32"]["memory"],
        "memory of the public way, MB": theirs["memory"],
        "epoch of the public way": theirs["images_per_second"],
        **{f"epoch {name}": value for name, value in rate.items()},
    }
    if args.pytorch:
        torch = run(str(HERE / "peers" / "pytorch.py"), python=args.pytorch)["rates"]
        best = {kind: max(value for way, value in torch.items() if way.endswith(kind)) for kind in rate}
        found["epoch_vs_pytorch"] = rate["float32"] / best["float32"]
        found["epoch_vs_pytorch_bfloat16"] = rate["bfloat16"] / max(best.values())
        found |= {f"step of PyTorch, best {kind}": value for kind, value in best.items()}
    return found


def inference(folder: Path, args: argparse.Namespace) -> dict[str, float]:
    found = ours("predict")
    if not found["equal"] or found["change"] > 0.002:
        raise SystemExit(f"Classifier.predict and Keras' predict disagree: {found}")
    return {
        "inference_vs_predict": found["ratio"],
        "inference_onnx_vs_predict": found["onnx_ratio"],
        "predict": found["images_per_second"],
        "predict of Keras": found["images_per_second"] / found["ratio"],
        "predict, exported to ONNX": found["images_per_second"] / found["ratio"] * found["onnx_ratio"],
    }


def loading(folder: Path, args: argparse.Namespace) -> dict[str, float]:
    """Copies of the originals, where they are given, else of the dataset's own files, read by both ways."""
    source = Path(args.originals or pnlib.find_dataset().root)
    files = sorted(file for file in source.rglob("*") if file.suffix.lower() in (".jpeg", ".jpg"))
    if not files:  # the demo's phantoms are no JPEG files
        return {}
    images = folder / "files"
    for i in range(280):
        file = files[i % len(files)]
        kind = "NORMAL" if i % 2 else "PNEUMONIA"
        for split in ("train", "test"):
            target = images / split / kind
            target.mkdir(parents=True, exist_ok=True)
            if split == "train" or i < 2:
                (target / f"person{i}_bacteria_{i}.jpeg").write_bytes(file.read_bytes())
    theirs, mine = public("load", str(images / "train")), ours("load", str(images))
    return {"loading_first": theirs["seconds"] / mine["first"], "loading_cached": theirs["seconds"] / mine["cached"]}


def starting(folder: Path, args: argparse.Namespace) -> dict[str, float]:
    found = {}
    for key, line in (("import_seconds", ("-c", "import pnlib")), ("help_seconds", ("-m", "pnlib", "--help"))):
        times = []
        for _ in range(4):
            started = time.perf_counter()
            subprocess.run([sys.executable, *line], capture_output=True, check=True)
            times.append(time.perf_counter() - started)
        found[key] = statistics.median(times[1:])
    return found


PARTS: dict[str, Callable[[Path, argparse.Namespace], dict[str, float]]] = {
    "step": steps, "epoch": epochs, "inference": inference, "loading": loading, "start": starting,
}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", choices=PARTS, nargs="+", default=list(PARTS))
    parser.add_argument("--pytorch", metavar="PYTHON", help="a Python that has benchmarks/peers/requirements.txt")
    parser.add_argument("--originals", metavar="FOLDER", help="full-size JPEG files, for the loading")
    parser.add_argument("--quick", action="store_true", help="one round of few images; write nothing")
    args = parser.parse_args()
    rounds: list[dict[str, float]] = []
    with tempfile.TemporaryDirectory(prefix="pnlib-bench-") as name:
        dataset = pnlib.find_dataset()
        rows = dataset.rows("train")
        images = pnlib.load_images(dataset, rows)[..., 0]
        _, different = np.unique(images.reshape(len(images), -1), axis=0, return_index=True)
        order = np.random.default_rng(0).permutation(different)[: 288 if args.quick else None]
        np.savez(Path(name) / "images.npz", x=images[order], y=rows.label.to_numpy()[order])
        for number in range(1 if args.quick else args.rounds):
            found = {}
            for part in args.only:
                new = PARTS[part](Path(name), args)
                print(f"round {number + 1}, {part}: {json.dumps(new)}", flush=True)
                found |= new
            rounds.append(found)
    here = environment()
    stored = read_json(RESULTS) if RESULTS.is_file() else {}
    machine = f"{here['processor']}, {os.cpu_count()} cores"
    measured, rates = (stored.get(machine, {}).get(name, {}) for name in ("keys", "images per second"))
    for key in sorted(set().union(*rounds)):
        values = [found[key] for found in rounds if key in found]
        spread = {"median": statistics.median(values), "lowest": min(values), "highest": max(values)}
        rounded = {name: float(f"{value:.3g}") for name, value in spread.items()} | {"rounds": len(values)}
        (measured if key in KEYS else rates)[key] = rounded
    if not args.quick:
        about = {"versions": here["packages"], "data": dataset.edition, "keys": measured, "images per second": rates}
        write_json(RESULTS, stored | {machine: about})
    for key, value in measured.items():
        what, target, _ = KEYS[key]
        print(f"{key:28} {value['median']:8.3g}  target {target:4g} {'met' if met(key, value) else 'missed'}  {what}")


if __name__ == "__main__":
    main()
