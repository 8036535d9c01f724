"""`pnlib doctor`: is everything here that the course needs, and if not, what to do."""

import importlib.metadata
import os
import platform
import re
import shutil
import subprocess
import sys
import textwrap
from argparse import Namespace
from collections.abc import Iterator

from pnlib import __version__
from pnlib.base import machine, paths
from pnlib.base.errors import InputError
from pnlib.datasets import find_dataset

ROOM = 1e9  # bytes on the disk, for runs and decoded images
MEMORY = 3e9  # bytes, for one training (docs/performance.md)
INSTALL = "install the project again: pip install --editable . in its folder"
START = """
import tensorflow as tf
from pnlib.base import machine
machine.quiet_tensorflow()
float(tf.reduce_sum(tf.ones((2, 2))))
print(f"it starts and computes, GPUs: {len(tf.config.list_physical_devices('GPU'))}")
"""


def doctor(options: Namespace) -> int:
    """Print what was found, one line per check, and what to do about each problem. Returns 1 if there is any."""
    problems = 0
    for check in (_packages, _processor, _tensorflow, _memory, _disk, _dataset):
        try:
            found = list(check(options.data))
        except paths.Away as away:
            found = [(str(away), "")]
        except InputError as error:
            found = [("", str(error))]
        for what, advice in found:
            problems += bool(advice)
            line = f"{what}{': ' if what and advice else ''}{advice}"
            print(f"{'PROBLEM' if advice else 'ok':<8}", textwrap.indent(line, " " * 9).strip(), flush=True)
    print(f"\n{problems} problem{'s' * (problems != 1)}." if problems else "\nAll is well.")
    return 1 if problems else 0


def _packages(_: str) -> Iterator[tuple[str, str]]:
    """(what was found, what to do about it or '') of Python and of each package that is missing or too old."""
    yield f"pnlib {__version__} on Python {platform.python_version()}, {platform.system()}", ""
    try:
        needed = importlib.metadata.requires("pnlib") or []
    except importlib.metadata.PackageNotFoundError:
        needed = []
        yield "pnlib is not installed", INSTALL
    bounds: dict[str, str] = dict(re.findall(r"^([\w.-]+)>=([\d.]+)$", "\n".join(needed), re.MULTILINE))
    versions = {}
    for name, bound in bounds.items():
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            yield f"{name} is not installed", INSTALL
        else:
            if _numbers(versions[name]) < _numbers(bound):
                yield f"{name} {versions[name]} is older than {bound}", INSTALL
    yield ", ".join(f"{name} {versions[name]}" for name in machine.PACKAGES if name in versions), ""


def _numbers(version: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", version)[:4]]


def _processor(_: str) -> Iterator[tuple[str, str]]:
    features = machine.processor_features()
    shown = " ".join(name for name in ("avx", "avx2", "avx512f", "avx512_vnni", "avx512_bf16") if name in features)
    old = "TensorFlow needs AVX; use another machine" if features and platform.machine() == "x86_64" else ""
    yield f"{machine.processor()}, {os.cpu_count()} cores {shown}".strip(), "" if "avx" in features else old


def _tensorflow(_: str) -> Iterator[tuple[str, str]]:
    """In a process of its own, which a missing instruction may kill."""
    done = subprocess.run([sys.executable, "-c", START], capture_output=True, text=True, errors="replace")
    said = (done.stdout if done.returncode == 0 else done.stderr).strip().splitlines() or [f"status {done.returncode}"]
    yield f"TensorFlow: {said[-1]}", INSTALL if done.returncode else ""


def _memory(_: str) -> Iterator[tuple[str, str]]:
    import psutil

    memory = psutil.virtual_memory()
    little = f"a training may need {MEMORY / 1e9:.0f} GB; close other programs" if memory.available < MEMORY else ""
    yield f"memory: {memory.available / 1e9:.1f} of {memory.total / 1e9:.1f} GB free", little


def _disk(_: str) -> Iterator[tuple[str, str]]:
    for folder, variable in ((paths.runs_dir(), "PNLIB_RUNS"), (paths.cache_dir(), "PNLIB_CACHE")):
        there = next(place for place in (folder, *folder.parents) if place.exists())
        free = shutil.disk_usage(there).free
        wrong = "" if os.access(there, os.W_OK) else f"it can't be written; name another folder with {variable}"
        if free < ROOM:
            wrong = f"a run may need {ROOM / 1e9:.0f} GB; free some space, or name another folder with {variable}"
        yield f"{folder}: {free / 1e9:.1f} GB free", wrong


def _dataset(data: str) -> Iterator[tuple[str, str]]:
    dataset = find_dataset(data)
    more = "\nfor the real X-rays: pnlib download, or set PNLIB_DATA to their folder" if dataset.is_demo else ""
    yield f"{dataset.describe()}\nfolder: {dataset.root}{more}", ""
