"""How much faster is a study on several Dask workers? benchmarks/workers.csv.

    python benchmarks/workers.py     # 10 minutes on two cores; leave the machine alone meanwhile

Four trials on the demo, 04_train whole with one thread each, on 1, 2 and 4 workers of a local cluster.
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd

from pnlib.base.machine import environment

STUDY = """name: workers
configs: {baseline: {epochs: 4}}
seeds: [0, 1, 2, 3]
"""


def main() -> None:
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        study = Path(folder) / "workers.yaml"
        study.write_text(STUDY)
        for workers in (1, 1, 2, 4):  # the first only fills the cache
            variables = {**os.environ, "PNLIB_RUNS": f"{folder}/{len(rows)}", "PNLIB_DATA": "demo"}
            variables["PNLIB_CACHE"] = f"{folder}/cache"
            line = [sys.executable, "-m", "pnlib", "study", str(study), "--workers", str(workers), "--threads", "1"]
            started = time.perf_counter()
            subprocess.run(line, env=variables, check=True)
            rows.append({"workers": workers, "seconds": round(time.perf_counter() - started, 1)})
    table = pd.DataFrame(rows[1:]).assign(processor=environment()["processor"], cores=os.cpu_count())
    table["speed_up"] = (table.seconds[0] / table.seconds).round(2)
    table.to_csv(Path(__file__).with_name("workers.csv"), index=False)
    print(table.to_string(index=False))


if __name__ == "__main__":
    main()
