"""Execute notebooks with papermill. Their outputs hold no paths of this machine, and each stream in one piece."""

import contextlib
import dataclasses
import logging
import os
import platform
import sys
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path

import nbformat
import nbformat.reader

from pnlib.base import files, machine, paths
from pnlib.base.errors import InputError, reason
from pnlib.base.machine import environment_with
from pnlib.config import TrainConfig

SETTINGS = {field.name for field in dataclasses.fields(TrainConfig)}
PICTURES = ("normal.png", "pnm.png", "index.png")


class NotebookFailed(Exception):
    """A cell raised; the message names notebook, cell and error, and where the partial output lies."""


def path_of(name: str) -> Path:
    """File of a notebook of the series (InputError where it is missing)."""
    path = paths.brought(f"notebooks/{name}.ipynb")
    if not path.is_file():
        raise InputError(f"There is no notebook {path}; run pnlib in a clone of the project or a copy of the course.")
    return path


def parameters(name: str) -> dict[str, dict]:
    """Parameters of a notebook as papermill reads them: {name: {inferred_type_name, default, help}}"""
    import papermill

    path = path_of(name)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            nbformat.validate(nbformat.reader.reads(path.read_text(encoding="utf-8")))
            return papermill.inspect_notebook(_literal(path))
        except Exception as error:  # nbformat and papermill raise many kinds
            raise InputError(f"{path} is no sound notebook: {reason(error)}; restore it with git.") from error


def _literal(path: Path) -> str:
    """A path for papermill, which fills in what stands in braces."""
    return str(path).replace("{", "{{").replace("}", "}}")


def parameters_for(name: str, values: dict) -> dict:
    """Those of the values that a notebook takes, in the form in which it takes them.

    Fields of TrainConfig that the notebook has no parameter for go into its parameter `settings`, if it has one.
    """
    own = parameters(name)
    named = {parameter: value for parameter, value in values.items() if parameter in own}
    others = {parameter: values[parameter] for parameter in values if parameter not in own and parameter in SETTINGS}
    return named | ({"settings": others} if "settings" in own and others else {})


def execute(name: str, output: Path, values: dict, echo: bool = False) -> None:
    """Execute a notebook of the series into `output`; `echo` shows what it prints.

    papermill rewrites its file in place after each cell, so it gets one of its own, `NAME.running.ipynb`; `output` is
    written when it ends, whole, also where it ends by a failed cell, Ctrl-C or SIGTERM.

    Args:
        values: parameters, and fields of TrainConfig (`parameters_for`).

    Raises:
        NotebookFailed: a cell raised; `output` holds what was reached.
    """
    import papermill

    source, own = path_of(name), parameters_for(name, values)
    running = output.with_name(f"{name}.running.ipynb")
    with files.writing(output):
        files.make_dir(output.parent)
    for logger in ("papermill", "asyncio", "traitlets"):  # what goes wrong is said below, in one sentence
        logging.getLogger(logger).setLevel(logging.CRITICAL)
    with this_python(), _kept(running, output), _told(name, running, output):
        papermill.execute_notebook(
            _literal(source),
            _literal(running),
            own,
            cwd=str(source.parent),
            kernel_name="python3",
            progress_bar=echo and sys.stderr.isatty(),
            stdout_file=_Echo() if echo else None,
            extra_arguments=["--log-level=CRITICAL"],  # else: a warning on each start, a traceback on Ctrl-C
        )


@contextlib.contextmanager
def this_python() -> Iterator[None]:
    """Have `python3` mean the Python that runs this: a user's kernelspec of that name may be another's."""
    from ipykernel.kernelspec import write_kernel_spec

    with tempfile.TemporaryDirectory(prefix="pnlib-kernel-") as folder:
        write_kernel_spec(Path(folder) / "kernels" / "python3")
        others = os.environ.get("JUPYTER_PATH", "")
        with environment_with({"JUPYTER_PATH": os.pathsep.join([folder, *([others] if others else [])])}):
            yield


@contextlib.contextmanager
def _told(name: str, running: Path, output: Path) -> Iterator[None]:
    """Turn what papermill raises into one sentence (NotebookFailed)."""
    import papermill

    try:
        yield
    except RuntimeError as error:  # nbclient's DeadKernelError, and jupyter_client's of a kernel that dies as it starts
        if "ernel died" not in str(error):
            raise
        raise NotebookFailed(
            f"{name} failed: its kernel died, out of memory perhaps\nIts partial output lies in {output}"
        ) from None
    except OSError as error:
        if error.filename == sys.executable:
            raise NotebookFailed(f"{name} failed: its kernel can't start: {error}") from None
        raise NotebookFailed(f"{name} failed: cannot write {running}: {error.strerror or error}") from None
    except papermill.PapermillExecutionError as error:
        said = str(error.evalue).strip() or error.ename
        raise NotebookFailed(
            f"{name} failed in cell {error.exec_count}, which begins `{error.source.strip().splitlines()[0]}`: "
            f"{error.ename}: {said}\nIts partial output lies in {output}"
        ) from None


@contextlib.contextmanager
def _kept(running: Path, output: Path) -> Iterator[None]:
    """Write `output` from papermill's own file at the end, however that comes about."""
    ended = False
    try:
        yield
        ended = True
    finally:
        try:
            if running.is_file():
                tidy(running, output)
        except (nbformat.reader.NotJSONError, UnicodeDecodeError, InputError):  # a full disk, say
            if ended:
                raise  # else what ended it is said, not this
        finally:
            running.unlink(missing_ok=True)


class _Echo:
    """Prints what a notebook prints, indented.

    Where nobody listens any more (a closed terminal, `| head`) the notebook goes on all the same: it holds what is
    printed.
    """

    def write(self, text: str) -> None:
        with contextlib.suppress(OSError):
            for line in text.splitlines():
                print(f"   {line}", flush=True)

    def flush(self) -> None:
        with contextlib.suppress(OSError):
            sys.stdout.flush()


def tidy(path: Path, target: Path | None = None) -> None:
    """Drop papermill's records (they hold paths of this machine) and widgets (their pictures stay); merge streams.

    When, how long and with which versions it ran is kept. Written to `target`, or in place.
    """
    notebook = nbformat.read(path, as_version=4)
    notebook.metadata.pop("widgets", None)
    record = notebook.metadata.pop("papermill", {})
    if record.get("duration"):
        versions = {"python": platform.python_version(), **machine.versions()}
        seconds = round(record["duration"])
        notebook.metadata["pnlib"] = {"date": record["start_time"][:10], "seconds": seconds, "versions": versions}
    for cell in notebook.cells:
        for key in ("papermill", "execution", "collapsed"):
            cell.metadata.pop(key, None)
        merged: list = []
        for output in cell.get("outputs", []):
            output.get("data", {}).pop("application/vnd.jupyter.widget-view+json", None)
            last = merged[-1] if merged else None
            if last and output.output_type == "stream" == last.output_type and output.name == last.name:
                last.text += output.text
            else:
                merged.append(output)
        if cell.cell_type == "code":
            cell.outputs = merged
    files.atomic_write(target or path, nbformat.writes(notebook) + "\n")


def to_html(path: Path) -> Path:
    """Write the HTML report of an executed notebook beside it, pictures included."""
    import nbconvert

    html, _ = nbconvert.HTMLExporter().from_filename(str(path))
    files.atomic_write(path.with_suffix(".html"), html)
    return path.with_suffix(".html")


def save_in_place(folder: Path) -> None:
    """Put the executed notebooks of a run in the place of the committed ones, and its pictures into `nb_images/`."""
    for executed in (folder / "notebooks").glob("*.ipynb"):
        files.atomic_write(paths.root() / "notebooks" / executed.name, executed.read_bytes())
    for name in PICTURES:
        files.atomic_write(paths.root() / "nb_images" / name, (folder / "figures" / name).read_bytes())
