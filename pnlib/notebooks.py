"""Execute notebooks with papermill; keep what they leave free of paths and of pieces that nbval can't compare."""

import contextlib
import logging
import sys
import warnings
from pathlib import Path

import nbformat
import nbformat.reader

from pnlib import runs
from pnlib.errors import InputError, reason

PICTURES = ("normal.png", "pnm.png", "index.png")


class NotebookFailed(Exception):
    """A cell raised; the message names notebook, cell and error, and where the partial output lies."""


def path_of(name: str) -> Path:
    """File of a notebook of the series (InputError where it is missing)."""
    path = runs.root() / "notebooks" / f"{name}.ipynb"
    if not path.is_file():
        raise InputError(f"There is no notebook {path}; run pnlib inside a clone of the project.")
    return path


def sound(name: str) -> Path:
    """File of a notebook of the series (InputError where it is missing, or no notebook)."""
    path = path_of(name)
    try:
        nbformat.validate(nbformat.reader.reads(path.read_text(encoding="utf-8")))
    except Exception as error:  # nbformat raises many kinds
        raise InputError(f"{path} is no sound notebook: {reason(error)}; restore it with git.") from error
    return path


def parameters(name: str) -> dict[str, dict]:
    """Parameters of a notebook as papermill reads them: {name: {inferred_type_name, default, help}}."""
    import papermill

    path = sound(name)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return papermill.inspect_notebook(_literal(path))
        except Exception as error:  # papermill raises many kinds
            raise InputError(f"{path} is no sound notebook: {reason(error)}; restore it with git.") from error


def _literal(path: Path) -> str:
    """A path for papermill, which fills in what stands in braces."""
    return str(path).replace("{", "{{").replace("}", "}}")


def execute(name: str, output: Path, values: dict, echo: bool = True) -> None:
    """Execute a notebook of the series into `output`, showing what it prints (unless `echo` is False).

    papermill rewrites its file in place after each cell, so it gets one of its own, `NAME.running.ipynb`; `output` is
    written when it ends, whole, also where it ends by a failed cell, Ctrl-C or SIGTERM.

    Raises:
        NotebookFailed: a cell raised; `output` holds what was reached.
    """
    import papermill

    source = sound(name)
    running = output.with_name(f"{name}.running.ipynb")
    with runs.writing(output):
        runs.make_folder(output.parent)
    for logger in ("papermill", "asyncio"):  # what goes wrong is said below, in one sentence
        logging.getLogger(logger).setLevel(logging.CRITICAL)
    ended = False
    try:
        papermill.execute_notebook(
            _literal(source),
            _literal(running),
            values,
            cwd=str(source.parent),
            kernel_name="python3",
            progress_bar=echo and sys.stderr.isatty(),
            stdout_file=_Echo() if echo else None,
            extra_arguments=["--log-level=CRITICAL"],  # else: a warning on each start, a traceback on Ctrl-C
        )
        ended = True
    except RuntimeError as error:  # nbclient's DeadKernelError, and jupyter_client's of a kernel that dies as it starts
        if "ernel died" not in str(error):
            raise
        raise NotebookFailed(
            f"{name} failed: its kernel died, out of memory perhaps\nIts partial output lies in {output}"
        ) from None
    except OSError as error:
        raise NotebookFailed(f"{name} failed: cannot write {running}: {error.strerror or error}") from None
    except papermill.PapermillExecutionError as error:
        reason = str(error.evalue).strip() or error.ename
        raise NotebookFailed(
            f"{name} failed in cell {error.exec_count}, which begins `{error.source.strip().splitlines()[0]}`: "
            f"{error.ename}: {reason}\nIts partial output lies in {output}"
        ) from None
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
    """Prints what a notebook prints, indented. Where nobody listens any more (a closed terminal, `| head`) the notebook
    goes on all the same: it holds what is printed."""

    def write(self, text: str) -> None:
        with contextlib.suppress(OSError):
            for line in text.splitlines():
                print(f"   {line}", flush=True)

    def flush(self) -> None:
        with contextlib.suppress(OSError):
            sys.stdout.flush()


def tidy(path: Path, target: Path | None = None) -> None:
    """Drop papermill's records (they hold paths of this machine) and merge adjacent pieces of one stream; written to
    `target`, or in place."""
    notebook = nbformat.read(path, as_version=4)
    notebook.metadata.pop("papermill", None)
    for cell in notebook.cells:
        for key in ("papermill", "execution", "collapsed"):
            cell.metadata.pop(key, None)
        merged = []
        for output in cell.get("outputs", []):
            last = merged[-1] if merged else None
            if last and output.output_type == "stream" == last.output_type and output.name == last.name:
                last.text += output.text
            else:
                merged.append(output)
        if cell.cell_type == "code":
            cell.outputs = merged
    runs.write_whole(target or path, nbformat.writes(notebook) + "\n")


def to_html(path: Path) -> Path:
    """Write the HTML report of an executed notebook beside it, pictures included."""
    import nbconvert

    html, _ = nbconvert.HTMLExporter().from_filename(str(path))
    runs.write_whole(path.with_suffix(".html"), html)
    return path.with_suffix(".html")


def save_in_place(folder: Path) -> None:
    """Put the executed notebooks of a run in the place of the committed ones, and its pictures into `nb_images/`."""
    for executed in (folder / "notebooks").glob("*.ipynb"):
        runs.write_whole(path_of(executed.stem), executed.read_bytes())
    for name in PICTURES:
        runs.write_whole(runs.root() / "nb_images" / name, (folder / "figures" / name).read_bytes())
