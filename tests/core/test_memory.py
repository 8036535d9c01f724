"""What claims to be huge (an image, a cache, a state, JSON) is refused, and takes little memory."""

import re
import subprocess
import sys

import pytest
from small_files import archived, npy
from test_odd_images import CASES, make

GREEDY = """
import resource, sys, types
from pathlib import Path
import numpy as np
import pnlib
from pnlib import InputError, checkpoint
from pnlib.base import files, paths

def limit(mib):
    size = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (size + mib * 2**20, -1))

def refused(read, path):
    try:
        read(path)
    except InputError as error:
        print(error)

folder, *images = map(Path, sys.argv[2:])
dataset = pnlib.find_dataset(sys.argv[1])
rows = dataset.rows("test")
expected = pnlib.load_images(dataset, rows).sum()
weight = types.SimpleNamespace(path="w", assign=lambda value: None)
network = types.SimpleNamespace(variables=[weight], trainable_variables=[weight],
                                optimizer=types.SimpleNamespace(variables=[], build=lambda variables: None))
limit(64)
for path in images:
    refused(pnlib.decode, path)
limit(256)
(cached,) = paths.cache_dir().iterdir()
cached.write_bytes((folder / "cache.npy").read_bytes())
assert pnlib.load_images(dataset, rows).sum() == expected
refused(lambda path: checkpoint.read_state(path.parent, network), folder / "state.npz")
refused(files.read_json, folder / "deep.json")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads its own size from /proc")
def test_what_claims_to_be_huge_is_refused_within_little_memory(tiny_folder, tmp_path):
    """Images of 900 MB within 64 MiB; a cache of 22 TB, a state of 4 TB, JSON of ten million levels within 256 MiB."""
    bombs = []
    for number, case in enumerate(case for case in CASES if "bomb" in case):
        (tmp_path / str(number)).mkdir()
        bombs.append(make(tmp_path / str(number), case)[0])
        assert bombs[-1].stat().st_size < 250_000
    (tmp_path / "cache.npy").write_bytes(npy("(1000000000, 150, 150, 1)"))
    (tmp_path / "state.npz").write_bytes(archived(**{"network/w": npy("(1000000000000,)", "<f4")}))
    (tmp_path / "deep.json").write_text("[" * 10_000_000)
    line = [sys.executable, "-c", GREEDY, str(tiny_folder), str(tmp_path), *map(str, bombs)]
    done = subprocess.run(line, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]
    *images, state, deep = done.stdout.splitlines()
    assert len(images) == len(bombs) == 4
    assert all(re.search("decompression bomb|too large", said) for said in images), images
    assert state.startswith(f"Cannot resume from {tmp_path / 'state.npz'}: it is damaged")
    assert deep.startswith(f"Cannot read {tmp_path / 'deep.json'}: ")
