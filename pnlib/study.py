"""`pnlib study STUDY.yaml`: a grid of recipes, seeds and splits, each cell one papermill execution, on Dask.

A cell is known by what it is made of: its parameters, the notebooks, this library's code, the dataset's index. Its key
is the hash of that. A worker executes it in a temporary folder and returns files; the client alone writes, whole or not
at all, to `runs/studies/NAME/cells/KEY/`. So whatever is killed (worker, scheduler, client), the same line again keeps
the finished cells and does the others anew, and workers need not share a disk: only this library and the dataset.
"""

import dataclasses
import functools
import hashlib
import io
import json
import logging
import os
import tempfile
import time
from pathlib import Path

import pandas as pd

from pnlib import exams, runs
from pnlib.errors import InputError, quoted, reason

KEYS = ("name", "about", "recipes", "common", "seeds", "test")
FORBIDDEN = ("run", "seed", "data")  # the study's own business
KEPT = (
    "train/parameters.json",
    "train/environment.json",
    "train/history.csv",
    "train/validation.csv",
    "train/crossed.csv",
    "train/answers.csv",
)
KEPT_OF_TEST = ("train/index.csv", "train/best.weights.h5", "evaluate/metrics.json", "evaluate/predictions.csv")


@dataclasses.dataclass(frozen=True)
class Cell:
    """One execution: `recipe` (its name), `parameters` of 04_train (seed included), `test` (05_evaluate too), `key`."""

    recipe: str
    parameters: dict
    test: bool
    key: str


@dataclasses.dataclass(frozen=True)
class Study:
    """A study as its YAML file says: name, about, recipes {name: parameters}, seeds, test, and its cells."""

    name: str
    about: str
    test: bool
    cells: tuple[Cell, ...]
    data_hash: str

    @property
    def folder(self) -> Path:
        return runs.runs_dir() / "studies" / self.name


def read(path: str | Path, dataset) -> Study:
    """Read and check a study.

    ```yaml
    name: augmentation
    about: which augmentation holds when framing changes?
    common: {epochs: 8, split: shifted, precision: mixed_bfloat16}
    recipes:
      none: {augmentation: none}
      wide: {augmentation: wide}
    seeds: [0, 1]
    test: false    # true: the final table; each cell evaluates on the test images too
    ```

    Any parameter of 04_train but run, seed and data may stand in common and recipes; two splits are two recipes.

    Raises:
        InputError: no such file, no YAML, an unknown key or parameter, a value out of range.
    """
    import yaml

    path = Path(path)
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"Cannot read the study {path}: {reason(error)}.") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" in line {mark.line + 1}" if mark else ""
        raise InputError(f"The study {path} is no YAML{where}: {getattr(error, 'problem', reason(error))}.") from error
    except (ValueError, RecursionError) as error:  # a date or a number that there isn't, a thousand brackets
        raise InputError(f"The study {path} is no YAML that can be read: {reason(error)}.") from error
    if not isinstance(content, dict) or not isinstance(content.get("recipes"), dict) or not content["recipes"]:
        raise InputError(f"The study {path} needs `recipes:`, a name and its parameters a line.")
    unknown = sorted(set(map(str, content)) - set(KEYS))
    if unknown:
        raise InputError(f"The study {path} has unknown keys {', '.join(unknown)}; there are {', '.join(KEYS)}.")
    name = content.get("name", path.stem)
    runs.check(run=name)
    seeds, test = content.get("seeds", [0]), content.get("test", False)
    if not isinstance(seeds, list) or not seeds or len(set(map(str, seeds))) < len(seeds):
        raise InputError(f"The study {path} needs `seeds:`, a list of different numbers; it has {quoted(seeds)}.")
    if not isinstance(test, bool):
        raise InputError(f"In the study {path}, `test:` is true or false, not {quoted(test)}.")
    allowed = _parameters_of_training()
    made_of = {"notebooks": _notebooks_hash(test), "code": code_hash(), "data": data_hash(dataset)}
    cells = []
    for recipe, own in content["recipes"].items():
        if not isinstance(own or {}, dict) or not isinstance(content.get("common") or {}, dict):
            raise InputError(f"In the study {path}, recipe {recipe!r} or `common:` is no list of `parameter: value`.")
        parameters = {**(content.get("common") or {}), **(own or {})}
        for parameter in parameters:
            if parameter not in allowed or parameter in FORBIDDEN:
                raise InputError(
                    f"In the study {path}, recipe {recipe!r} has a parameter {parameter!r}; "
                    f"04_train has {', '.join(p for p in allowed if p not in FORBIDDEN)}."
                )
        for seed in seeds:
            values = {**parameters, "seed": seed}
            runs.check(**values)
            spec = json.dumps({**made_of, "parameters": runs.in_order(values), "test": test}, sort_keys=True)
            cells.append(Cell(str(recipe), values, test, hashlib.sha256(spec.encode()).hexdigest()[:16]))
    if len({cell.key for cell in cells}) < len(cells):
        raise InputError(f"In the study {path}, two recipes have the same parameters; leave one out.")
    return Study(name, str(content.get("about", "")), test, tuple(cells), made_of["data"])


def _parameters_of_training() -> list[str]:
    from pnlib import notebooks

    return list(notebooks.parameters("04_train"))


def _notebooks_hash(test: bool) -> str:
    """Hash of the code cells of the notebooks that a cell executes: prose and outputs don't change a result."""
    from pnlib import notebooks

    names = ("04_train", "05_evaluate") if test else ("04_train",)
    code = [
        cell["source"]
        for name in names
        for cell in json.loads(notebooks.sound(name).read_text(encoding="utf-8"))["cells"]
        if cell["cell_type"] == "code"
    ]
    return hashlib.sha256(json.dumps(code).encode()).hexdigest()


RESULTS_DEPEND_ON = ("augment.py", "chest.json", "chest.py", "data.py", "demo.py", "evaluate.py", "feed.py",
                     "framing.py", "model.py", "shift.py", "train.py", "transfer.py")  # fmt: skip


def code_hash() -> str:
    """Hash of the modules and the template that a training's result depends on, as installed here."""
    folder = Path(__file__).parent
    return hashlib.sha256(b"".join((folder / name).read_bytes() for name in RESULTS_DEPEND_ON)).hexdigest()


def data_hash(dataset) -> str:
    """Hash of a dataset's index: names, labels and file sizes, wherever it lies."""
    try:
        lines = [f"{r.path}|{r.label}|{(dataset.root / r.path).stat().st_size}" for r in dataset.table.itertuples()]
    except OSError as error:
        raise InputError(f"Cannot read {error.filename}: {error.strerror}; replace or remove it.") from error
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def execute(cell: dict, folder: str, expected: dict, threads: int) -> dict:
    """Execute one cell, on a worker: 04_train and, where the study ends with the test, 05_evaluate.

    Args:
        cell: a `Cell` as dictionary.
        folder: the dataset's folder on the client; where the worker has none there, its own PNLIB_DATA counts.
        expected: {'code': …, 'data': …, 'is_demo': …} of the client.
        threads: threads that TensorFlow may use, so that cells on one machine don't fight for cores.

    Returns:
        {'files': {name: bytes}, 'seconds': …} or {'error': one sentence}: what went wrong in a cell would go wrong
        again, so it is not an exception that Dask retries.
    """
    from pnlib import data as datasets
    from pnlib import notebooks

    try:
        dataset = datasets.find(folder if Path(folder).is_dir() else "demo" if expected["is_demo"] else "")
        if code_hash() != expected["code"]:
            return {"error": "the worker has another version of pnlib; install the client's there"}
        if data_hash(dataset) != expected["data"]:
            return {"error": f"the worker has other images ({dataset.edition}) than the client; set PNLIB_DATA there"}
    except InputError as error:
        return {"error": str(error)}
    started = time.perf_counter()
    limits = dict.fromkeys(("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"), str(threads))
    with tempfile.TemporaryDirectory(prefix="pnlib-cell-", dir=_workers_folder()) as scratch:
        changed = {**limits, "PNLIB_RUNS": scratch, "PNLIB_CACHE": str(runs.cache_dir())}
        before = {name: os.environ.get(name) for name in changed}
        os.environ.update(changed)  # the kernel inherits them; a worker executes one cell at a time
        try:
            cell_folder = Path(scratch) / "cell"
            for name in ("04_train", "05_evaluate")[: 1 + cell["test"]]:
                values = cell["parameters"] if name == "04_train" else {}
                values = {**values, "run": "cell", "data": str(dataset.root)}
                notebooks.execute(name, cell_folder / "notebooks" / f"{name}.ipynb", values, echo=False)
            kept = KEPT + (KEPT_OF_TEST if cell["test"] else ())
            files = {name: (cell_folder / name).read_bytes() for name in kept}
            for executed in (cell_folder / "notebooks").glob("*.ipynb"):
                files[f"notebooks/{executed.name}"] = executed.read_bytes()
        except notebooks.NotebookFailed as error:
            return {"error": str(error).replace(scratch, "…")}
        finally:
            for name, value in before.items():
                if value is None:
                    os.environ.pop(name)
                else:
                    os.environ[name] = value
    return {"files": files, "seconds": time.perf_counter() - started}


def _workers_folder() -> str | None:
    """The Dask worker's own folder, which Dask clears away when the worker was killed and another one starts beside it;
    None (the system's temporary folder) outside a worker."""
    from distributed import get_worker

    try:
        return get_worker().local_directory
    except ValueError:
        return None


def store(study: Study, cell: Cell, result: dict) -> None:
    """Put a returned cell into its folder, whole or not at all."""
    final = study.folder / "cells" / cell.key
    with runs.writing(final):
        runs.make_folder(final.parent)
        with tempfile.TemporaryDirectory(dir=final.parent, prefix=".storing-") as scratch:
            partial = Path(scratch) / cell.key
            for name, content in result["files"].items():
                runs.write_whole(partial / name, content)
            spec = {"recipe": cell.recipe, "parameters": cell.parameters, "seconds": result["seconds"]}
            runs.write_json(partial / "cell.json", spec)
            if final.exists():  # another client was faster, with the same content
                return
            partial.rename(final)
            runs.settle(final.parent)


def finished(study: Study) -> list[Cell]:
    """The cells that are stored already."""
    return [cell for cell in study.cells if (study.folder / "cells" / cell.key / "cell.json").is_file()]


def collect(study: Study) -> pd.DataFrame:
    """One row a finished cell: recipe, seed, `auroc random`, `auroc framing`… of `shift.judge`, the mean and worst of
    groups and of changes; the exams of `exams.draws` with their 95 % intervals (`criterion`, `criterion low`…) and
    what each is more than the first recipe's with the same seed (`criterion gain`, `criterion gain low`…, paired);
    `threshold` of the shifted validation; parameters, key; test figures (`test accuracy`…) where the study reads the
    test images.

    Raises:
        InputError: what is stored of a cell is damaged.
    """
    rows, first = [], {}
    for cell in finished(study):
        folder, seed = study.folder / "cells" / cell.key, str(cell.parameters["seed"])
        try:
            drawn = _drawn(folder / "train" / "answers.csv")
            if cell.recipe == study.cells[0].recipe:
                first[seed] = drawn
            rows.append(_row(study, cell, folder, _exams(drawn, first.get(seed))))
        except Exception as error:  # pandas raises many kinds
            raise InputError(
                f"What is stored in {folder} is damaged; delete that folder, and run the same line again."
            ) from error
    return pd.DataFrame(rows)


@functools.cache
def _drawn(path: Path) -> tuple[pd.DataFrame, float, str]:
    """What `exams` says of stored answers, which don't change any more: draws, threshold, and which patients."""
    answers = exams.read(path)
    who = hashlib.sha256(answers[["path", "patient"]].to_csv().encode()).hexdigest()
    return exams.draws(answers), exams.threshold(answers), who


def _exams(own: tuple, first: tuple | None) -> dict:
    """The exams of a cell with intervals, and its gain over the first recipe on the same validation patients."""
    drawn, threshold, who = own
    row = {"threshold": threshold}
    tables = {"": drawn}
    if first is not None and first[0] is not drawn and first[2] == who:
        tables[" gain"] = drawn - first[0]
    for word, table in tables.items():
        for name, line in exams.interval(table).dropna().iterrows():
            row |= {f"{name}{word}": line.value, f"{name}{word} low": line.low, f"{name}{word} high": line.high}
    return row


def _row(study: Study, cell: Cell, folder: Path, examined: dict) -> dict:
    table = pd.read_csv(folder / "train" / "validation.csv").set_index("name")
    row = {"recipe": cell.recipe, "seed": cell.parameters["seed"]}
    for column in ("auroc", "specificity", "sensitivity"):
        row |= {f"{column} {name}": value for name, value in table[column].items()}
    for kind, part in table.groupby("kind"):
        shifted = part.drop(index=["random", "all"], errors="ignore") if kind == "group" else part
        if len(shifted):
            row |= {f"mean auroc, {kind}s": shifted.auroc.mean(), f"worst auroc, {kind}s": shifted.auroc.min()}
            balanced = (shifted.sensitivity + shifted.specificity) / 2
            row[f"mean balanced accuracy, {kind}s"] = balanced.mean()
    matrix = pd.read_csv(folder / "train" / "crossed.csv", index_col=0).to_numpy()
    row |= {"mean auroc, crossed": matrix.mean(), "worst auroc, crossed": matrix.min(), **examined}
    if study.test:
        metrics = runs.read_json(folder / "evaluate" / "metrics.json")
        row |= {f"test {name}": values[0] for name, values in metrics["metrics"].items()}
    row["seconds"] = runs.read_json(folder / "cell.json")["seconds"]
    row |= {f"parameter {name}": value for name, value in cell.parameters.items() if name != "seed"}
    return row | {"key": cell.key}


def write(study: Study) -> Path | None:
    """Write the study's table, `table.csv`, and its plot, `plot.png`, of what is finished; returns the table's path."""
    table = collect(study)
    if table.empty:
        return None
    runs.write_whole(study.folder / "table.csv", table.to_csv(index=False, float_format="%.6g"))
    from pnlib import study_plots

    picture = io.BytesIO()
    study_plots.study(table).savefig(picture, format="png", dpi=120)
    runs.write_whole(study.folder / "plot.png", picture.getvalue())
    return study.folder / "table.csv"


def run(study: Study, dataset, scheduler: str = "", workers: int = 0, threads: int = 0) -> int:
    """Run what is not finished; returns the number of cells that failed.

    Args:
        dataset: the one that the study was read with.
        scheduler: address of a Dask scheduler (tcp://…); '' starts a local cluster that ends with this process.
        workers, threads: of the local cluster; 0 means as many workers as give each two threads. With a scheduler,
            `threads` limits each cell (0: as many as the worker's own).

    Raises:
        InputError: no scheduler answers, or the connection to it is lost.
    """
    import dask
    from distributed import Client, LocalCluster, as_completed

    done = finished(study)
    if study.about:
        print(study.about, flush=True)
    print(f"study {study.name}: {len(study.cells)} cells, {len(done)} finished before", flush=True)
    open_cells = [cell for cell in study.cells if cell not in done]
    if not open_cells:
        write(study)
        return 0
    cores = os.cpu_count() or 1
    threads = threads or min(2, cores)
    workers = workers or max(1, cores // threads)
    dask.config.set({"distributed.scheduler.allowed-failures": 3, "distributed.worker.daemon": False})
    cluster = None
    try:
        if not scheduler:
            cluster = LocalCluster(
                n_workers=min(workers, len(open_cells)), threads_per_worker=1, processes=True, host="127.0.0.1",
                dashboard_address="127.0.0.1:0", silence_logs="ERROR", memory_limit=0,
            )  # fmt: skip
        client = Client(cluster or scheduler, timeout="20s")
    except (OSError, ValueError) as error:
        raise InputError(f"No Dask scheduler answers at {scheduler}: {error}; start one, or leave it out.") from error
    expected = {"code": code_hash(), "data": study.data_hash, "is_demo": dataset.is_demo}
    failed = 0
    log = logging.getLogger("distributed.client")
    level = log.level
    log.setLevel(logging.CRITICAL)  # a lost connection gets one sentence below, not Dask's traceback as well
    try:
        if scheduler and not client.scheduler_info()["workers"]:
            print("the scheduler has no workers yet: waiting for one", flush=True)
        print(f"dashboard: {client.dashboard_link}", flush=True)
        by_key = {f"pnlib-{cell.key}": cell for cell in open_cells}
        futures = [
            client.submit(
                execute, dataclasses.asdict(cell), str(dataset.root), expected, threads, key=key, retries=2, pure=True
            )
            for key, cell in by_key.items()
        ]
        started, reached = time.perf_counter(), 0
        for future in as_completed(futures):
            cell, reached = by_key[future.key], reached + 1
            if future.status == "finished":
                result = future.result()
            elif future.status == "error":
                result = {"error": f"{future.exception()!r}"}
            else:
                which = f"{cell.recipe}, seed {cell.parameters['seed']}"
                raise InputError(f"The scheduler is gone, or gave cell {which} up; {AGAIN}.")
            if "error" in result:
                failed += 1
                print(f"FAILED {cell.recipe}, seed {cell.parameters['seed']}: {result['error']}", flush=True)
            else:
                store(study, cell, result)
                write(study)
                print(_line(study, cell, result, reached, len(futures), time.perf_counter() - started), flush=True)
            future.release()
    except (OSError, TimeoutError, RuntimeError) as error:  # distributed's CommClosedError is an OSError
        raise InputError(f"The connection to the scheduler was lost ({type(error).__name__}); {AGAIN}.") from error
    finally:
        client.close()
        if cluster is not None:
            cluster.close()
        log.setLevel(level)
    return failed


AGAIN = "run the same line again, finished cells are kept"


def _line(study, cell, result, reached, total, elapsed) -> str:
    """One line a finished cell: a bar, what it was, what validation says, the time that is left."""
    table = pd.read_csv(study.folder / "cells" / cell.key / "train" / "validation.csv").set_index("name")
    left = elapsed / reached * (total - reached)
    bar = "#" * (20 * reached // total)
    worst = table.auroc.drop(index="random", errors="ignore")
    auroc = f"AUROC {table.auroc['random']:.3f}, worst {worst.min():.3f} ({worst.idxmin()})"
    rest = f", {left / 60:.0f} min left" if left else ""
    name = f"{cell.recipe}, seed {cell.parameters['seed']}"
    return f"[{bar:<20}] {reached}/{total}  {name}: {auroc}  {result['seconds']:.0f} s{rest}"


def summary(table: pd.DataFrame) -> pd.DataFrame:
    """One row a recipe, in the study's order: seeds, and the mean over them of the validation's main columns."""
    main = [f"{which} auroc, {kind}" for kind in ("groups", "changes", "crossed") for which in ("mean", "worst")]
    columns = [c for c in ("auroc random", *main, "test accuracy", "test auroc", "seconds") if c in table]
    grouped = table.groupby("recipe", sort=False)
    return grouped[columns].mean().round(4).assign(seeds=grouped.size())


def load(path: str) -> pd.DataFrame:
    """The table of a study, committed or in a run folder: one row a recipe and seed (a repeated row counts once).

    Raises:
        InputError: no such file, or no table of a study.
    """
    runs.check(table=path)
    place = runs.resolve(path)
    try:
        table = pd.read_csv(place)
    except (OSError, ValueError) as error:
        raise InputError(f"Cannot read the table {place}: {reason(error)}.") from error
    missing = [column for column in ("recipe", "seed", "auroc random") if column not in table]
    if missing:
        raise InputError(f"{place} is no table of a study: it lacks {', '.join(missing)}; take one of pnlib study.")
    return table.drop_duplicates(["recipe", "seed"]).reset_index(drop=True)
