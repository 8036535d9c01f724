"""Run a study's trials on Dask: a local cluster, or a scheduler that you have.

A worker executes a trial in a temporary folder and returns files. The client alone writes, whole or not at all, to
`runs/studies/NAME/trials/KEY/`. So whatever is killed (worker, scheduler, client), the same line again keeps the
finished trials and does the others anew, and workers need not share a disk: only this library and the dataset.
"""

import contextlib
import dataclasses
import logging
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from pnlib.base import files, paths
from pnlib.base.errors import InputError
from pnlib.base.machine import environment_with
from pnlib.datasets import Dataset, find_dataset
from pnlib.studies import table
from pnlib.studies.grid import Study, Trial, computes_with, data_hash

KEPT = ("train/provenance.json", "train/environment.json", "train/history.csv", "train/stress.csv")
KEPT_OF_TEST = ("train/index.csv", "train/weights.npz", "evaluate/metrics.json", "evaluate/predictions.csv")
AGAIN = "run the same line again, finished trials are kept"

# Executes a notebook with settings into a file; raises an exception whose text says what went wrong.
Execute = Callable[[str, Path, dict], None]


@dataclasses.dataclass(frozen=True)
class Cluster:
    """Where trials run: `scheduler`, the address of a Dask scheduler (tcp://…), or '' for a local cluster.

    `workers` and `threads` are of the local cluster; 0 means as many workers as give each two threads. With a
    scheduler, `threads` limits each trial (0: two).
    """

    scheduler: str = ""
    workers: int = 0
    threads: int = 0

    @property
    def threads_per_trial(self) -> int:
        """Threads that TensorFlow may use, so that trials on one machine don't fight for cores."""
        return self.threads or min(2, os.cpu_count() or 1)

    @contextlib.contextmanager
    def client(self, trials: int = 1) -> Iterator[Any]:
        """A Dask client, closed at the end, and with it a local cluster.

        Raises:
            InputError: no scheduler answers.
        """
        import dask
        from distributed import Client, LocalCluster

        dask.config.set({"distributed.scheduler.allowed-failures": 3, "distributed.worker.daemon": False})
        local = None
        try:
            if not self.scheduler:
                workers = self.workers or max(1, (os.cpu_count() or 1) // self.threads_per_trial)
                local = LocalCluster(
                    n_workers=min(workers, trials), threads_per_worker=1, processes=True, host="127.0.0.1",
                    dashboard_address="127.0.0.1:0", silence_logs="ERROR", memory_limit=0,
                )  # fmt: skip
            client = Client(local or self.scheduler, timeout="20s")
        except (OSError, ValueError) as error:
            raise InputError(
                f"No Dask scheduler answers at {self.scheduler}: {error}; start one, or leave it out."
            ) from error
        try:
            yield client
        finally:
            client.close()
            if local is not None:
                local.close()


def run_study(study: Study, dataset: Dataset, execute: Execute, cluster: Cluster) -> int:
    """Run the trials that are not finished; returns how many failed.

    Args:
        study: read with this dataset.
        execute: how a notebook is executed (`runner.notebooks.execute`).

    Raises:
        InputError: no scheduler answers, or the connection to it is lost.
    """
    done = study.finished()
    if study.about:
        print(study.about, flush=True)
    print(f"study {study.name}: {len(study.trials)} trials, {len(done)} finished before", flush=True)
    left = [trial for trial in study.trials if trial not in done]
    if not left:
        table.write_table(study)
        return 0
    log = logging.getLogger("distributed.client")
    level = log.level
    log.setLevel(logging.CRITICAL)  # a lost connection gets one sentence below, not Dask's traceback as well
    try:
        with cluster.client(len(left)) as client:
            if cluster.scheduler and not client.scheduler_info()["workers"]:
                print("the scheduler has no workers yet: waiting for one", flush=True)
            print(f"dashboard: {client.dashboard_link}", flush=True)
            expected = {**computes_with(), "data": study.data_hash, "is_demo": dataset.is_demo}
            shared = (str(dataset.source), expected, cluster.threads_per_trial, execute)
            return _run_trials(client, study, left, shared)
    except (OSError, TimeoutError, RuntimeError) as error:  # distributed's CommClosedError is an OSError
        raise InputError(f"The connection to the scheduler was lost ({type(error).__name__}); {AGAIN}.") from error
    finally:
        log.setLevel(level)


def _run_trials(client: Any, study: Study, left: list[Trial], shared: tuple) -> int:
    from distributed import as_completed

    trials = {f"pnlib-{trial.key}": trial for trial in left}
    futures = [
        client.submit(run_trial, dataclasses.asdict(trial), *shared, key=key, retries=2, pure=True)
        for key, trial in trials.items()
    ]
    started, failed = time.perf_counter(), 0
    for reached, future in enumerate(as_completed(futures), 1):
        trial = trials[future.key]
        if future.status not in ("finished", "error"):
            raise InputError(f"The scheduler is gone, or gave trial {trial} up; {AGAIN}.")
        result = future.result() if future.status == "finished" else {"error": f"{future.exception()!r}"}
        if "error" in result:
            failed += 1
            print(f"FAILED {trial}: {result['error']}", flush=True)
        else:
            store(study, trial, result)
            table.write_table(study)
            left_s = (time.perf_counter() - started) / reached * (len(futures) - reached)
            bar = f"[{'#' * (20 * reached // len(futures)):<20}] {reached}/{len(futures)}"
            rest = f", {left_s / 60:.0f} min left" if left_s else ""
            reached_auroc = table.one_line(study.folder_of(trial))
            print(f"{bar}  {trial}: {reached_auroc}  {result['seconds']:.0f} s{rest}", flush=True)
        future.release()
    return failed


def run_trial(trial: dict, folder: str, expected: dict, threads: int, execute: Execute) -> dict:
    """Execute one trial, on a worker: 04_train and, where the study ends with the test images, 05_evaluate.

    Args:
        trial: a `Trial` as dictionary.
        folder: the dataset's folder on the client; where the worker has none there, its own PNLIB_DATA counts.
        expected: versions, format, data and is_demo of the client.
        threads: threads that TensorFlow may use.
        execute: see `run_study`.

    Returns:
        {'files': {name: bytes}, 'seconds': …} or {'error': one sentence}: what went wrong in a trial would go wrong
        again, so it is not an exception that Dask retries.
    """
    try:
        dataset = find_dataset(folder if Path(folder).exists() else "demo" if expected["is_demo"] else "")
        here = computes_with()
        if here != {name: expected[name] for name in here}:
            return {"error": "the worker has another version of pnlib or of TensorFlow; install the client's there"}
        if data_hash(dataset) != expected["data"]:
            return {"error": f"the worker has other images ({dataset.edition}) than the client; set PNLIB_DATA there"}
    except InputError as error:
        return {"error": str(error)}
    started = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="pnlib-trial-", dir=_workers_folder()) as scratch:
        limits = dict.fromkeys(("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"), str(threads))
        here = {"run": "trial", "data": str(dataset.source)}
        run = Path(scratch) / "trial"
        try:
            with environment_with(limits | {"PNLIB_RUNS": scratch, "PNLIB_CACHE": str(paths.cache_dir())}):
                execute("04_train", run / "notebooks" / "04_train.ipynb", trial["settings"] | here)
                if trial["test"]:
                    execute("05_evaluate", run / "notebooks" / "05_evaluate.ipynb", here)
        except Exception as error:
            return {"error": str(error).replace(scratch, "…")}
        kept = [run / name for name in KEPT + (KEPT_OF_TEST if trial["test"] else ())]
        kept += (run / "notebooks").glob("*.ipynb")
        content = {path.relative_to(run).as_posix(): path.read_bytes() for path in kept}
    return {"files": content, "seconds": time.perf_counter() - started}


def _workers_folder() -> str | None:
    """The Dask worker's own folder, which Dask clears away when the worker was killed and another one starts beside it.

    None (the system's temporary folder) outside a worker.
    """
    from distributed import get_worker

    try:
        return get_worker().local_directory
    except ValueError:
        return None


def store(study: Study, trial: Trial, result: dict) -> None:
    """Put a returned trial into its folder, whole or not at all."""
    final = study.folder_of(trial)
    with files.writing(final):
        files.make_dir(final.parent)
        with tempfile.TemporaryDirectory(dir=final.parent, prefix=".storing-") as scratch:
            partial = Path(scratch) / trial.key
            for name, content in result["files"].items():
                files.atomic_write(partial / name, content)
            about = {"config": trial.config, "settings": trial.settings, "seconds": result["seconds"]}
            files.write_json(partial / "trial.json", about)
            if final.exists():  # another client was faster, with the same content
                return
            partial.rename(final)
            files.fsync_dir(final.parent)
