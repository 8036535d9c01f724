"""Where things live, what a run may be asked for, and files that are written whole or not at all.

A run is a folder `runs/NAME/`: `notebooks/` (executed, with an HTML report each), `train/` (parameters, environment,
index, history, weights, metrics) and `evaluate/` (metrics of the test images). Notebooks hand over through it only.
"""

import contextlib
import errno
import importlib.metadata
import json
import math
import os
import platform
import re
import secrets
import sys
import tempfile
from pathlib import Path

from pnlib.errors import InputError, quoted, reason

PACKAGES = ("tensorflow", "keras", "numpy", "pandas", "pillow", "scikit-learn", "papermill", "opencv-python-headless")

AUGMENTATIONS = ("none", "tone", "usual", "wide", "scanner", "mirror", "closer", "elsewhere", "nearby")
LAYERS = ("RandomFlip", "RandomRotation", "RandomZoom", "RandomTranslation", "RandomShear", "RandomContrast",
          "RandomBrightness", "RandomSharpness", "RandomGaussianBlur", "RandomErasing", "GaussianNoise")  # fmt: skip
BALANCINGS = ("none", "weights", "oversample", "overlap")
PRECISIONS = ("float32", "mixed_bfloat16")
NETWORKS = ("founding", "compact", "efficientnet_lite0", "efficientnet_lite0_scratch")
SPLITS = ("random", "shifted")
KEEPS = ("best", "last")
PREPARATIONS = ("none", "standard", "local", "chest")
NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}"


def _is_augmentation(value) -> bool:
    """A preset's name, or {Keras layer: {argument: value}}; the layers themselves check the values."""
    if isinstance(value, str):
        return value in AUGMENTATIONS
    try:
        json.dumps(value, allow_nan=False)  # as it is kept with the run: no dates, no NaN
    except (TypeError, ValueError, RecursionError):
        return False
    return all(name in LAYERS and isinstance(arguments, dict) for name, arguments in value.items())


STUDY_TABLE = (str, lambda v: v.endswith(".csv"), "a study's table, a .csv file")

# Every parameter that a notebook may have: its type, what it may be, and that in words.
PARAMETERS = {
    "epochs": (int, lambda v: 1 <= v <= 1000, "a whole number from 1 to 1000"),
    "batch_size": (int, lambda v: 2 <= v <= 1024, "a whole number from 2 to 1024"),
    "learning_rate": (float, lambda v: 0 < v <= 1, "a number above 0 and at most 1"),
    "validation": (float, lambda v: 0.02 <= v <= 0.5, "a fraction from 0.02 to 0.5"),
    "dropout": (float, lambda v: 0 <= v < 1, "a fraction from 0 to below 1"),
    "weight_decay": (float, lambda v: 0 <= v <= 1, "a number from 0 to 1"),
    "averaging": (float, lambda v: 0 <= v < 1, "a fraction from 0 to below 1"),
    "label_smoothing": (float, lambda v: 0 <= v <= 0.5, "a fraction from 0 to 0.5"),
    "seed": (int, lambda v: 0 <= v < 2**31, "a whole number from 0 to 2147483647"),
    "resamples": (int, lambda v: 100 <= v <= 100_000, "a whole number from 100 to 100000"),
    "augmentation": (
        str,  # or a dictionary, see `check`
        _is_augmentation,
        f"one of {', '.join(AUGMENTATIONS)}, or Keras layers with their arguments ({', '.join(LAYERS)})",
    ),
    "balancing": (str, lambda v: v in BALANCINGS, "one of " + ", ".join(BALANCINGS)),
    "network": (str, lambda v: v in NETWORKS, "one of " + ", ".join(NETWORKS)),
    "preparation": (str, lambda v: v in PREPARATIONS, "one of " + ", ".join(PREPARATIONS)),
    "split": (str, lambda v: v in SPLITS, "one of " + ", ".join(SPLITS)),
    "keep": (str, lambda v: v in KEEPS, "one of " + ", ".join(KEEPS)),
    "precision": (str, lambda v: v in PRECISIONS, "one of " + ", ".join(PRECISIONS)),
    "data": (str, lambda v: True, "a folder, 'demo', or '' to search for one"),
    **dict.fromkeys(("table", "later", "last", "local", "ablation", "final", "final_compact"), STUDY_TABLE),
    "run": (str, lambda v: re.fullmatch(NAME, v) is not None, "a name of letters, digits, '.', '_' and '-'"),
}


# What the stated results were measured with: the defaults of 04_train that a result depends on, but for the seed.
# Either precision: the headline was trained with mixed_bfloat16, the committed notebook with float32.
STATED_FOR = {
    "network": "founding",
    "epochs": 20,
    "batch_size": 32,
    "learning_rate": 0.001,
    "weight_decay": 0.05,
    "averaging": 0.99,
    "label_smoothing": 0.0,
    "dropout": 0.5,
    "preparation": "local",
    "augmentation": "elsewhere",
    "balancing": "overlap",
    "split": "random",
    "validation": 0.15,
    "keep": "last",
}


def as_stated(parameters: dict) -> bool:
    """Whether a training had the parameters that the stated results hold for."""
    return all(parameters.get(name) == value for name, value in STATED_FOR.items())


def check(**parameters) -> None:
    """Refuse a parameter that is unknown, of the wrong type or out of range, with one sentence (InputError)."""
    for name, value in parameters.items():
        if name not in PARAMETERS:
            raise InputError(f"No notebook has a parameter {name!r}; use one of {', '.join(PARAMETERS)}.")
        kind, fits, words = PARAMETERS[name]
        kinds = (int, float) if kind is float else (str, dict) if name == "augmentation" else kind
        typed = isinstance(value, kinds) and not isinstance(value, bool)
        if not typed or (kind is float and not abs(value) < math.inf) or not fits(value):
            hint = (
                " (papermill's -r passes 2024 as text, its -p as a number)"
                if name == "run" and not isinstance(value, str)
                else ""
            )
            raise InputError(f"Parameter {name}={quoted(value)} is not possible; give {words}{hint}.")


def in_order(parameters: dict) -> dict:
    """Parameters to be compared or hashed: augmentation layers as a list, since their order counts."""
    augmentation = parameters.get("augmentation")
    return parameters | ({"augmentation": list(augmentation.items())} if isinstance(augmentation, dict) else {})


def root() -> Path:
    """The project's folder: the nearest one above the current folder, or around this package, with `notebooks/`.

    papermill runs a notebook in the folder it was launched from and nbval in the notebook's own; both find the same
    place here. Outside of a checkout it is the current folder.
    """
    here = Path.cwd()
    for folder in (here, *here.parents, Path(__file__).resolve().parent.parent):
        if (folder / "notebooks").is_dir() and (folder / "pyproject.toml").is_file():
            return folder
    return here


def resolve(path: str | Path) -> Path:
    """An absolute path: a relative one is looked for in the current folder first, then in the project's."""
    path = Path(os.path.expanduser(path))  # Path.expanduser raises where there is no such home folder
    inside_project = root() / path
    there = os.path.exists  # Path.exists raises where a name is too long
    return path.absolute() if there(path) or not there(inside_project) else inside_project.absolute()


def runs_dir() -> Path:
    """Folder of all runs: PNLIB_RUNS (relative to the project), else `runs/` in the project."""
    return root() / (os.environ.get("PNLIB_RUNS") or "runs")


def run_dir(name: str) -> Path:
    """Folder of one run. It need not exist."""
    check(run=name)
    return runs_dir() / name


def cache_dir() -> Path:
    """Folder of decoded images: PNLIB_CACHE (relative to the project), else `data/cache/` in the project."""
    return root() / (os.environ.get("PNLIB_CACHE") or "data/cache")


@contextlib.contextmanager
def writing(target: str | Path):
    """Turn a failed write (full disk, read-only folder) into one sentence that names the place (InputError)."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise InputError(f"Cannot write {target}: {reason}; free some space or choose another folder.") from error


@contextlib.contextmanager
def only_one(name: str, job: str = "training"):
    """Hold a run's lock for a job: training, or executing notebooks (two locks, since one of these notebooks trains).
    The system lets go of it when the process ends, however it ends.

    Raises:
        InputError: another process does this job under this name.
    """
    import filelock

    folder = run_dir(name)
    with writing(folder):
        make_folder(folder)
        lock = filelock.FileLock(folder / f".{job.split()[0]}")
        try:
            lock.acquire(timeout=0)
        except filelock.Timeout:
            raise InputError(
                f"Another process is {job} under the name {name!r}; wait until it is done, or give another name "
                "(--name, or the parameter run)."
            ) from None
    try:
        yield
    finally:
        lock.release()


def write_whole(path: str | Path, content: str | bytes) -> None:
    """Write a file so that readers see the old one or the new one, never a part: temporary name, fsync, rename."""
    path = Path(path)
    with writing(path):
        make_folder(path.parent)
        temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
        try:
            with temporary.open("xb") as file:
                file.write(content.encode() if isinstance(content, str) else content)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        settle(path.parent)


def make_folder(folder: Path) -> None:
    """Make a folder, and those above it, so that their names are on the disk when this returns."""
    made = [place for place in (folder, *folder.parents) if not place.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for place in reversed(made):
        settle(place.parent)


def settle(folder: Path) -> None:
    """Wait until the names in a folder are on the disk: only then does a rename outlast a power cut."""
    if os.name != "posix":  # elsewhere a folder can't be opened
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # some network file systems can't
            raise
    finally:
        os.close(handle)


def sync() -> None:
    """Wait until all that was written is on the disk, for a folder of many files that is about to be renamed."""
    if hasattr(os, "sync"):  # not on Windows
        os.sync()


def write_json(path: str | Path, value) -> None:
    """Write JSON whole or not at all; NaN is refused (ValueError)."""
    write_whole(path, json.dumps(value, indent=1, allow_nan=False) + "\n")


def read_json(path: str | Path):
    """Read JSON; a missing or damaged file gives one sentence (InputError)."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"Cannot read {path}: {reason(error)}; run the notebook that writes it again.") from error


def set_aside(folder: Path) -> Path | None:
    """Rename a folder to `NAME~1`, `NAME~2`… so that its place is free; returns its new name (None: there was none)."""
    if not folder.exists():
        return None
    number = 1
    while (kept := folder.with_name(f"{folder.name}~{number}")).exists():
        number += 1
    with writing(kept):
        return folder.rename(kept)


def put_in_place(partial: Path, final: Path) -> Path | None:
    """Rename a finished folder to its final name; one already there is set aside, and its new name returned."""
    kept = set_aside(final)
    with writing(final):
        partial.rename(final)
        settle(final.parent)
    return kept


def finished(name: str) -> Path:
    """Folder of a finished training; where there is none, one sentence says what to run first (InputError)."""
    folder = run_dir(name) / "train"
    needed = ("best.weights.h5", "history.csv", "index.csv", "parameters.json")
    if not all((folder / file).is_file() for file in needed):
        raise InputError(f"Run {name!r} holds no trained model in {folder}; run 04_train with run={name!r} first.")
    return folder


def environment(precision: str) -> dict:
    """What a result depends on besides code and data: Python, package versions, machine kind, precision."""
    return {
        "python": platform.python_version(),
        "packages": {name: importlib.metadata.version(name) for name in PACKAGES},
        "machine": {"system": platform.system(), "processor": processor(), "cores": os.cpu_count()},
        "precision": precision,
    }


def processor() -> str:
    """The processor's kind, without the machine's name."""
    with contextlib.suppress(OSError, IndexError):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")][0]
    return platform.processor() or platform.machine()


def threads() -> int:
    """How many threads decoding may use: OMP_NUM_THREADS, which a study sets for each of its cells, else all cores."""
    asked = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    return int(asked) if asked.isdecimal() and int(asked) else os.cpu_count() or 1


def quiet_tensorflow() -> None:
    """Import TensorFlow without its start-up log, which would stand in a notebook as stderr that changes each time.

    TF_CPP_MIN_LOG_LEVEL alone does not silence it (tensorflow issue 100442), so the process's stderr goes to a
    temporary file meanwhile; if the import fails, what was written is shown. Logs of level INFO and WARNING stay off.

    Besides, oneDNN's kernels are on where the user hasn't set TF_ENABLE_ONEDNN_OPTS: by itself TensorFlow takes them
    only where the processor has instructions for neural networks (AVX512 VNNI and later), but with AVX2 alone a step of
    training takes 0.6 of the time with them too (benchmarks/step.py, AMD EPYC).
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    sys.stderr.flush()
    saved = os.dup(2)
    with tempfile.TemporaryFile() as log:
        os.dup2(log.fileno(), 2)
        try:
            import tensorflow

            tensorflow.config.list_physical_devices()
            # "5 out of the last 5 calls triggered retracing", with an address in it: several networks do
            tensorflow.get_logger().setLevel("ERROR")
        except BaseException:
            log.seek(0)
            os.dup2(saved, 2)
            sys.stderr.write(log.read().decode(errors="replace"))
            raise
        finally:
            os.dup2(saved, 2)
            os.close(saved)
