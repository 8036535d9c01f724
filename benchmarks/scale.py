"""How time and memory of `training_data` grow with the number of images: benchmarks/scale.csv and docs/scale.png.

    python benchmarks/scale.py               # 20 minutes on two cores, 12 GB of disk; leave the machine alone meanwhile
    python benchmarks/scale.py --times 1 10  # fewer

Links give each training image new names, and with them new patients. Each row is a process of its own. It finds the
dataset, decodes the images or reads them from the cache, looks for copies, splits by patient and weighs by overlap,
then makes 100 batches. Memory is the process's own (anonymous pages, Linux): what it maps from the cache can be
forgotten at any time.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

import pnlib
from pnlib.base.machine import environment
from pnlib.datasets.images import SIZE
from pnlib.sampling import training_batches

HERE = Path(__file__).parent
TIMES = (1, 10, 100)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, nargs="+", default=TIMES)
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.measure:
        print(json.dumps(measure(asked.measure)))
        return
    rows = []
    for times in asked.times:
        with tempfile.TemporaryDirectory() as folder:
            link(pnlib.find_dataset(), Path(folder) / "xrays", times)
            line = [sys.executable, __file__, "--measure", f"{folder}/xrays"]
            for start in ("first", "second"):
                variables = {**os.environ, "PNLIB_CACHE": f"{folder}/cache"}
                said = subprocess.run(line, env=variables, check=True, stdout=subprocess.PIPE, text=True).stdout
                rows.append({"times": times, "start": start, **json.loads(said.splitlines()[-1])})
                print(rows[-1], flush=True)
    table = pd.DataFrame(rows).assign(processor=environment()["processor"])
    table.to_csv(HERE / "scale.csv", index=False)
    draw(table)


def link(dataset: pnlib.Dataset, folder: Path, times: int) -> None:
    """A dataset of links to the training images of another one, each under so many patients' names."""
    for row in dataset.rows("train").itertuples():
        for i in range(times):
            place = folder / "train" / ("NORMAL", "PNEUMONIA")[row.label] / f"{i}x{Path(row.path).name}"
            place.parent.mkdir(parents=True, exist_ok=True)
            place.symlink_to((dataset.root / row.path).resolve())


def measure(folder: Path) -> dict[str, float]:
    """Seconds until the training's data are there, and the most memory until then and while batches are made."""
    pnlib.quiet_tensorflow()
    used = [own_memory()]

    def watch() -> None:
        while True:
            used.append(own_memory())
            time.sleep(0.02)

    threading.Thread(target=watch, daemon=True).start()
    config, start = pnlib.TrainConfig(epochs=1), time.perf_counter()
    rows, images = pnlib.training_data(pnlib.find_dataset(str(folder)), config)
    seconds = time.perf_counter() - start
    for _ in training_batches(images, rows, config).take(100):
        pass
    return {"images": len(images), "seconds": round(seconds, 2), "memory_mb": round(max(used) - used[0])}


def own_memory() -> float:
    """MB that this process has for itself."""
    return int(re.search(r"RssAnon:\s+(\d+)", Path("/proc/self/status").read_text())[1]) / 1024


def draw(table: pd.DataFrame) -> None:
    figure, axes = plt.subplots(1, 2, figsize=(9, 3.8), layout="constrained")
    for axis, column, label in zip(axes, ("seconds", "memory_mb"), ("seconds", "memory in MB"), strict=True):
        for (start, part), style in zip(table.groupby("start"), ("o-", "s--"), strict=True):
            axis.plot(part.images, part[column], style, color="#333333", label=f"{start} start")
        if column == "memory_mb":
            ends = np.array([0, table.images.max()])
            axis.plot(ends, ends * SIZE**2 / 2**20, ":", color="#777777", label="the decoded images' own size")
        axis.legend(frameon=False)
        axis.set(xlabel="training images", ylabel=label, ylim=(0, None), xlim=(0, None))
        axis.spines[["top", "right"]].set_visible(False)
        axis.xaxis.set_major_formatter("{x:,.0f}")
        axis.yaxis.set_major_formatter("{x:,.0f}")
    figure.suptitle(f"Reading, checking and splitting; {table.processor[0]}", fontsize=11)
    figure.savefig(HERE.parent / "docs" / "scale.png", dpi=110)


if __name__ == "__main__":
    main()
