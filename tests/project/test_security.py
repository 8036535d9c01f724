"""Nothing that is read is executed, nothing listens beyond this machine, and of a patient only a file's name gets out.

Parameters and studies: tests/core/test_fuzz.py. Archives: tests/core/test_demo_and_download.py.
"""

import ast
import contextlib
import hashlib
import importlib.metadata
import inspect
import io
import itertools
import json
import os
import pickle
import re
import shutil
import subprocess
import sys
import time
import tomllib
import types
from pathlib import Path

import dependencies
import nbformat
import numpy as np
import PIL.Image
import PIL.PngImagePlugin
import pytest
from small_files import archived

import pnlib
from pnlib import Classifier, InputError, TrainConfig, checkpoint, networks, plots
from pnlib.base import files, paths
from pnlib.runner import notebooks
from pnlib.studies import cluster, grid

HERE = paths.root()

# --- weights, states and caches


class Evil:
    """What unpickling this does: it makes a folder."""

    def __init__(self, folder):
        self.folder = str(folder)

    def __reduce__(self):
        return os.mkdir, (self.folder,)


@pytest.fixture
def pickled(tmp_path):
    """A .npy file with a pickle, and the folder that appears once somebody unpickles it."""
    content = io.BytesIO()
    np.save(content, np.array([Evil(tmp_path / "executed")], dtype=object), allow_pickle=True)
    return content.getvalue(), tmp_path / "executed"


def test_the_pickle_of_these_tests_does_execute(pickled):
    content, executed = pickled
    np.load(io.BytesIO(content), allow_pickle=True)
    assert executed.is_dir()


def test_a_pickle_in_a_state_is_not_executed(pickled, tmp_path):
    content, executed = pickled
    weight = types.SimpleNamespace(path="w", assign=np.asarray)
    optimizer = types.SimpleNamespace(variables=[], build=lambda variables: None)
    network = types.SimpleNamespace(variables=[weight], trainable_variables=[weight], optimizer=optimizer)
    for member in ("network/w", "history"):
        sound = {name: np.zeros(1) for name in ("network/w", "history")}
        (tmp_path / "state.npz").write_bytes(archived(**{n: npy_of(a) for n, a in sound.items()} | {member: content}))
        with pytest.raises(InputError, match="Cannot resume from .*state.npz: it is damaged"):
            checkpoint.read_state(tmp_path, network)
    assert not executed.exists()


def npy_of(array: np.ndarray) -> bytes:
    content = io.BytesIO()
    np.save(content, array)
    return content.getvalue()


def test_a_pickle_in_the_cache_is_not_executed(pickled, tiny, workspace):
    content, executed = pickled
    rows = tiny.rows("test")
    images = pnlib.load_images(tiny, rows)
    (cached,) = (workspace / "cache").iterdir()
    for hostile in (content, archived(images=content), pickle.dumps(Evil(executed))):
        cached.write_bytes(hostile)
        assert np.array_equal(pnlib.load_images(tiny, rows), images)
    assert not executed.exists()


def test_a_pickle_in_weights_is_not_executed(pickled, tmp_path, monkeypatch):
    """Even where the provenance names the file's SHA-256, as that of a hostile classifier would."""
    content, executed = pickled
    monkeypatch.setitem(networks.NETWORKS, "small", lambda dropout: types.SimpleNamespace(set_weights=np.array))
    config = TrainConfig(network="small").to_json()
    for hostile in (content, archived(w0=content), pickle.dumps(Evil(executed))):
        (tmp_path / "weights.npz").write_bytes(hostile)
        sha256 = hashlib.sha256(hostile).hexdigest()
        (tmp_path / "provenance.json").write_text(json.dumps({"config": config, "weights_sha256": sha256}))
        with pytest.raises(InputError, match="Cannot read .*weights.npz"):
            Classifier.load(tmp_path)
    assert not executed.exists()


FORBIDDEN = r"eval|exec|os\.(system|popen)|yaml\.(load|unsafe_load|full_load)|.*(load_model|unsafe_deserialization)"


def test_nothing_that_could_execute_a_file_is_called():
    """In the library, the measurements and the notebooks. (For YAML and NumPy: only in their safe ways.)

    The one pickle, ImageNet's weights, must have its known digest, and its reader only knows four names:
    tests/core/test_networks.py.
    """
    sources = {str(f): f.read_text() for folder in ("pnlib", "benchmarks") for f in (HERE / folder).rglob("*.py")}
    assert len(sources) > 40
    for path in (HERE / "notebooks").glob("*.ipynb"):
        sources[str(path)] = "\n".join(c.source for c in nbformat.read(path, 4).cells if c.cell_type == "code")
    loads = 0
    for place, source in sources.items():
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.Import | ast.ImportFrom):
                names = [alias.name for alias in node.names] + [getattr(node, "module", "") or ""]
                found = {"pickle", "dill", "joblib", "marshal", "shelve"} & {n.split(".")[0] for n in names}
                assert found <= ({"pickle"} if place.endswith("imagenet.py") else set()), place
            if isinstance(node, ast.Call):
                name = ast.unparse(node.func)
                options = {k.arg: ast.unparse(k.value) for k in node.keywords}
                assert not re.fullmatch(FORBIDDEN, name, re.DOTALL), f"{place}: {name}"
                assert not name.startswith("pickle.") or name == "pickle.UnpicklingError", f"{place}: {name}"
                assert options.get("shell") != "True" and options.get("safe_mode") != "False", place
                if name == "np.load":
                    loads += 1
                    assert options.get("allow_pickle") == "False", place
    assert loads == 5, "a state, a classifier, MedMNIST, and a file of each of two benchmarks"


# --- notebooks: what is a value stays one, what is a name is escaped, and nobody else can listen

HOSTILE = """<img src=x onerror=alert(1)>'); __import__("os").mkdir("executed")\n\\"""
NAME = "<img src=x onerror=alert(1)>.jpeg"
CELLS = [
    'data: str = ""  # folder',
    "import pandas as pd\nimport pnlib\ndataset = pnlib.find_dataset(data)\nprint(dataset.describe())",
    "dataset.table[['path', 'patient']]",
    "import os\nprint('here', os.listdir('.'))",
    "LISTENING",
    "pnlib.load_images(dataset, dataset.table)",
]


def listening(process: int) -> list[str]:
    """Addresses, in hexadecimal, on which a process or one that it started waits for connections."""
    parents = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            parents[int(folder.name)] = int((folder / "stat").read_text().rsplit(")", 1)[1].split()[1])
    family = {process}
    while grown := {child for child, parent in parents.items() if parent in family} - family:
        family |= grown
    sockets = set()
    for member in family:
        with contextlib.suppress(OSError):
            for descriptor in Path(f"/proc/{member}/fd").iterdir():
                with contextlib.suppress(OSError):
                    sockets |= set(re.findall(r"socket:\[(\d+)\]", os.readlink(descriptor)))
    found = []
    for table in ("tcp", "tcp6"):
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
                _, address, _, state, *rest = line.split()
                if state == "0A" and rest[5] in sockets:
                    found.append(address)
    return sorted(set(found))


LOOPBACK = re.compile(
    r"[0-9A-F]{6}7F:|0{24}01000000:|0{16}FFFF0000[0-9A-F]{6}7F:"
)  # 127.x.x.x, ::1, and the former in IPv6
linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


def test_loopback_addresses_are_recognised():
    for address in ("0100007F:1F90", "0" * 24 + "01000000:1F90", "0" * 16 + "FFFF00000100007F:1F90"):
        assert LOOPBACK.match(address)
    for address in ("00000000:1F90", "0" * 32 + ":1F90", "0101A8C0:1F90", "0" * 16 + "FFFF00000101A8C0:1F90"):
        assert not LOOPBACK.match(address)


@pytest.fixture(scope="module")
def executed(tiny_folder, tmp_path_factory):
    """A notebook executed on a dataset whose folder and files have hostile names; the last cell fails over one."""
    folder = tmp_path_factory.mktemp("executed")
    dataset = folder / HOSTILE.replace("/", "")
    shutil.copytree(tiny_folder, dataset)
    (dataset / "DEMO.txt").unlink()
    (dataset / "train" / "NORMAL" / NAME).write_bytes(b"<img src=x onerror=alert(1)>")
    (dataset / "train" / "NORMAL" / NAME.replace("jpeg", "gif")).touch()
    (folder / "notebooks").mkdir()
    (folder / "pyproject.toml").write_text('[project]\nname = "pnlib"\n')
    look = f"import contextlib, re\nfrom pathlib import Path\n{inspect.getsource(listening)}\nprint('listening', listening(os.getpid()))"
    cells = [nbformat.v4.new_code_cell(source.replace("LISTENING", look)) for source in CELLS]
    cells[0].metadata["tags"] = ["parameters"]
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    metadata = {"kernelspec": kernel, "title": "</title><img src=x onerror=alert(1)>"}
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=metadata), folder / "notebooks" / "01_explore.ipynb")
    output = folder / "out" / "01_explore.ipynb"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(paths, "root", lambda: folder)
        patch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
        patch.setenv("PNLIB_CACHE", str(folder / "cache"))
        with pytest.raises(notebooks.NotebookFailed, match="InputError: Cannot read .*onerror"):
            notebooks.execute("01_explore", output, {"data": str(dataset)}, echo=False)
        html = notebooks.to_html(output).read_text()
    said = "".join(o.get("text", "") for c in nbformat.read(output, 4).cells for o in c.get("outputs", []))
    return folder, html, said


def test_a_path_with_quotes_and_code_is_a_path(executed):
    folder, _, said = executed
    assert "here ['01_explore.ipynb']" in said, "it was found and read, and no folder appeared"
    assert not list(folder.rglob("executed"))


def test_reports_escape_names_of_files_and_folders(executed):
    _, html, said = executed
    assert said.count("onerror=alert") >= 1, "the name of what was left out is printed"
    assert html.count("onerror=alert") >= 4, "in the parameters, a printed line, a table, and an error"
    assert not re.search(r"<[^<>]*onerror=alert", html), "and nowhere as a tag"
    assert "&lt;img src=x onerror=alert" in html


@linux
def test_a_notebooks_kernel_listens_on_loopback_alone(executed):
    addresses = re.findall(r"[0-9A-F]{8,32}:[0-9A-F]{4}", executed[2].split("listening")[1])
    assert len(addresses) >= 5 and all(LOOPBACK.match(address) for address in addresses), addresses


@linux
def test_a_study_listens_on_loopback_alone(tiny, tmp_path, monkeypatch, capsys):
    """Scheduler, worker, nanny and dashboard. The trial ends at once: the worker has other versions."""
    import distributed

    found = []

    def look(futures, real=distributed.as_completed):
        found.extend(listening(os.getpid()))
        return real(futures)

    (tmp_path / "small.yaml").write_text("configs: {plain: {epochs: 1}}")
    plan = grid.read_study(tmp_path / "small.yaml", tiny)
    monkeypatch.setattr(cluster, "computes_with", lambda: {"versions": {}, "format": 0})
    monkeypatch.setattr(distributed, "as_completed", look)
    assert cluster.run_study(plan, tiny, print, cluster.Cluster(threads=1)) == 1
    assert len(found) >= 4 and all(LOOPBACK.match(address) for address in found), found
    said = capsys.readouterr().out
    assert "http://127.0.0.1:" in said and "the worker has another version" in said


@linux
def test_make_lab_listens_on_loopback_alone(tmp_path):
    line = re.search(r"^\t\$\(BIN\)/jupyter lab (.*)$", (HERE / "Makefile").read_text(), re.MULTILINE)[1].split()
    line = [sys.executable, "-m", "jupyter", "lab", *line, "--no-browser", "--port-retries=50"]
    environment = os.environ | {
        "JUPYTER_CONFIG_DIR": str(tmp_path),
        "JUPYTER_RUNTIME_DIR": str(tmp_path),
        "HOME": str(tmp_path),
    }
    if os.geteuid() == 0:
        line.append("--allow-root")
    server = subprocess.Popen(line, cwd=HERE, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 90
        while not (addresses := listening(server.pid)) and time.monotonic() < deadline:
            assert server.poll() is None
            time.sleep(0.2)
        assert addresses and all(LOOPBACK.match(address) for address in addresses), addresses
    finally:
        server.kill()
        server.wait()


# --- patients

SECRET = "Doe^Jane"


def with_patient(path: Path, kind: str) -> None:
    """The image at `path` anew, with a patient's name in every field that its format has for text."""
    image = PIL.Image.open(path).convert("L")
    exif = PIL.Image.Exif()
    exif[0x010E] = exif[0x013B] = SECRET  # description, artist
    exif.get_ifd(0x8769)[0x9286] = b"ASCII\0\0\0" + SECRET.encode()  # user comment
    text = PIL.PngImagePlugin.PngInfo()
    text.add_text("Patient", SECRET)
    options = {"comment": SECRET.encode(), "quality": 95} if kind == "JPEG" else {"pnginfo": text}
    image.save(path, kind, exif=exif, **options)
    assert SECRET.encode() in path.read_bytes()


def test_a_patients_name_inside_a_file_gets_nowhere(tiny_folder, tmp_path, workspace, monkeypatch, capfd, caplog):
    folder = tmp_path / "data"
    shutil.copytree(tiny_folder, folder)
    train_images = sorted((folder / "train").rglob("*.jpeg"))
    for i, path in enumerate(train_images):
        with_patient(path, "JPEG" if i % 2 else "PNG")
    cut = train_images[5].read_bytes()
    train_images[5].write_bytes(cut[: len(cut) * 2 // 3])
    for name in ("scan.dcm", "scan.jpeg"):
        (folder / "train" / "NORMAL" / name).write_bytes(bytes(128) + b"DICM\x10\0\x10\0PN\x08\0" + SECRET.encode())
    found = pnlib.find_dataset(str(folder))
    with pytest.raises(InputError) as refused:
        pnlib.load_images(found, found.table)
    monkeypatch.setenv("PNLIB_DAMAGED", "skip")
    found = pnlib.find_dataset(str(folder))
    assert len(found.skipped) == 3 and not found.others
    rows = pnlib.split_by_patient(found.table, 0.25)
    images = pnlib.load_images(found, rows)
    files.atomic_write(workspace / "runs" / "one" / "train" / "index.csv", rows.to_csv(index=False))
    plots.image_grid(images[:4], list(rows.path[:4]), found.attribution).savefig(workspace / "runs" / "grid.png")
    print(found.describe(), refused.value, found, rows.to_string())
    said = capfd.readouterr()
    everything = said.out + said.err + caplog.text
    assert "scan.jpeg" in everything and "scan.dcm" in everything, "a file's name is what there is to say"
    assert SECRET not in everything
    written = [path for sub in ("runs", "cache") for path in (workspace / sub).rglob("*") if path.is_file()]
    assert len(written) >= 4 and not any(SECRET.encode() in path.read_bytes() for path in written)


# --- what the project stands on

PROJECT = tomllib.loads((HERE / "pyproject.toml").read_text())["project"]
DIRECT = [*PROJECT["dependencies"], *itertools.chain(*PROJECT["optional-dependencies"].values())]


def pinned() -> dict[str, tuple[str, str]]:
    """{package: (version, the rest of its entry)} of the lock."""
    text = dependencies.LOCK.read_text(encoding="utf-8")
    entries = re.split(r"\n(?=\S)", text.strip())
    found = {}
    for entry in entries:
        name, version, rest = re.match(r"([a-z0-9._-]+)==([\w.+]+)(.*)", entry, re.DOTALL).groups()
        found.setdefault(name, []).append((version, rest))
    return found


def numbers(version: str) -> list[int]:
    return [int(part) for part in re.findall(r"\d+", version)]


def test_the_lock_pins_every_package_with_hashes_and_names_no_place():
    lock, text = pinned(), dependencies.LOCK.read_text(encoding="utf-8")
    assert len(lock) > len(DIRECT) and all("--hash=sha256:" in rest for entries in lock.values() for _, rest in entries)
    assert set(re.findall(r"(?<!\S)--\w[\w-]*", text)) == {"--hash"} and "://" not in text and "@" not in text
    assert all(re.fullmatch(r"[0-9a-f]{64}", digest) for digest in re.findall(r"sha256:(\S+)", text))
    for line in DIRECT:
        name, bound = line.split(">=")
        for version, _ in lock[name]:
            assert numbers(version) >= numbers(bound), f"{name} {version} is below {bound}"


def test_every_dependency_is_listed_with_licence_and_purpose():
    assert [name + bound for name, bound, _ in dependencies.declared()] == DIRECT, "each with a comment what it is for"
    rows = re.findall(
        r"^\| ([a-z0-9-]+) (>=\S+) \| ([^|]+) \| (.+) \|$", dependencies.TABLE.read_text(encoding="utf-8"), re.M
    )
    assert [(name, bound, purpose) for name, bound, _, purpose in rows] == dependencies.declared()
    for name, _, licence, _ in rows:
        assert re.search(r"\b(MIT|BSD|Apache|MPL|Python Software Foundation)\b", licence), f"{name}: {licence}"
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):  # what only developers need may be missing
            assert licence == dependencies.licence(name) or pinned()[name][0][0] != dependencies.version(name)
