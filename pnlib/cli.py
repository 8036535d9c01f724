"""`pnlib run`, `pnlib study`, `pnlib download`, `pnlib info`."""

import argparse
import contextlib
import difflib
import os
import signal
import sys
import textwrap
import threading
import time
from pathlib import Path

from pnlib import __version__, runs
from pnlib.errors import InputError

NOTEBOOKS = ("01_explore", "02_augment", "03_model", "04_train", "05_evaluate")
SUPPLEMENT = "06_study"  # reads tables of studies, no dataset; executed with --in-place


def main(arguments: list[str] | None = None) -> int:
    """Entry point; returns the exit status: 0 done, 1 a notebook failed, 2 bad input, 130 interrupted by Ctrl-C, 143
    by SIGTERM (a batch queue's time limit), 129 by SIGHUP (the terminal was closed)."""
    options = _parser().parse_args(arguments)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # a terminal that knows no umlauts is no reason to lose a run
    try:
        if os.environ.get("PNLIB_DATA", "demo") not in (
            "",
            "demo",
        ):  # kernels start in other folders: make a relative path absolute first
            os.environ["PNLIB_DATA"] = str(runs.resolve(os.environ["PNLIB_DATA"]))
        with _ended_by_signals():
            return options.do(options)
    except InputError as error:
        _say(f"{error}")
        return 2
    except _Ended as ended:
        _say(f"ended by {ended.args[0].name}; run the same line again to go on.")
        return 128 + ended.args[0]
    except KeyboardInterrupt:
        _say("interrupted; run the same line again to go on.")
        return 130
    except BrokenPipeError:  # `pnlib info | head`: as a shell's own commands end
        _say("nobody reads what is printed; run the same line again to go on.")
        return 128 + 13


def _say(sentence: str) -> None:
    """To stderr. Where a terminal was closed nobody hears it, and what is still to be printed goes nowhere: over that
    Python would end with a status of its own."""
    with contextlib.suppress(OSError):
        print(f"pnlib: {sentence}", file=sys.stderr, flush=True)
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


class _Ended(KeyboardInterrupt):
    """A signal asks this process to end: like Ctrl-C, so that its kernel and its workers are ended first."""


@contextlib.contextmanager
def _ended_by_signals():
    """SIGTERM and SIGHUP raise `_Ended` meanwhile, once; left alone where they are ignored (nohup) or handled."""

    def end(number, frame):
        for each in before:  # a closed terminal may hang up twice, and the second would cut the cleaning short
            signal.signal(each, signal.SIG_IGN)
        raise _Ended(signal.Signals(number))

    numbers = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]  # Windows has one
    if threading.current_thread() is not threading.main_thread():
        numbers = []  # Python allows it there alone
    before = {number: signal.getsignal(number) for number in numbers if signal.getsignal(number) == signal.SIG_DFL}
    for number in before:
        signal.signal(number, end)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="pnlib",
        description="Five notebooks that teach pneumonia classification in chest X-rays: run them, fetch their data. "
        "It teaches; it is no medical device.",
    )
    parser.add_argument("--version", action="version", version=f"pnlib {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    run = commands.add_parser(
        "run",
        help="execute the notebooks, in order, into runs/NAME/",
        description="Execute the notebooks with papermill, in order, into runs/NAME/notebooks/, with an HTML report of "
        "each. A failed notebook stops the chain; the same line again goes on where a training was interrupted.",
        epilog="Example: pnlib run --name quick -p epochs 2 -p augmentation none",
    )
    run.add_argument(
        "-p",
        "--parameter",
        nargs=2,
        action="append",
        default=[],
        metavar=("NAME", "VALUE"),
        help="a notebook's parameter, e.g. -p epochs 20 (may be repeated; `pnlib info` lists them)",
    )
    run.add_argument("--only", choices=NOTEBOOKS, help="execute this notebook alone")
    run.add_argument("--from", dest="first", choices=NOTEBOOKS, help="begin with this notebook")
    run.add_argument(
        "--name", default="default", help="the run's name, and its folder below runs/ (default: %(default)s)"
    )
    run.add_argument(
        "--force",
        action="store_true",
        help="begin the training anew where an unfinished one stands (it is kept beside), for instance one that was "
        "begun with other images or another TensorFlow, which is refused otherwise",
    )
    run.add_argument(
        "--in-place",
        action="store_true",
        help="save the executed notebooks over notebooks/*.ipynb too, and the README's pictures (make notebooks)",
    )
    run.add_argument(
        "--skip-damaged",
        action="store_true",
        help="leave damaged images out, count and name them, and check no stated result; without it they are refused, "
        "all by name (for the other commands and JupyterLab: PNLIB_DAMAGED=skip in the environment)",
    )
    run.set_defaults(do=_run)

    study = commands.add_parser(
        "study",
        help="run a grid of recipes and seeds on Dask, and compare them on validation",
        description="Run each recipe of STUDY.yaml with each seed, a cell being one papermill execution of 04_train, "
        "on Dask: a local cluster, or a scheduler that you have. Finished cells are kept in runs/studies/NAME/; "
        "whatever is killed, the same line again does the rest.",
        epilog="Example: pnlib study studies/founding.yaml --workers 2 --threads 1",
    )
    study.add_argument("study", metavar="STUDY.yaml", help="the grid; studies/ has examples")
    study.add_argument("--scheduler", default="", metavar="ADDRESS", help="a Dask scheduler, e.g. tcp://node1:8786")
    study.add_argument("--workers", type=int, default=0, help="workers of the local cluster (default: cores / threads)")
    study.add_argument("--threads", type=int, default=0, help="threads of each cell (default: 2)")
    study.add_argument("--data", default="", help="dataset folder, or 'demo' (default: search, as pnlib run does)")
    study.add_argument(
        "--table", action="store_true", help="run nothing; write and print the table of what is finished"
    )
    study.set_defaults(do=_study)

    download = commands.add_parser(
        "download",
        help="fetch the published dataset (1.2 GB)",
        description="Download the published dataset, verify its SHA-256, unpack it to data/chest_xray.",
    )
    download.add_argument("--to", metavar="FOLDER", help="unpack to this folder instead (then set PNLIB_DATA to it)")
    download.set_defaults(do=_download)

    info = commands.add_parser("info", help="say which dataset is found, which runs there are, which parameters exist")
    info.add_argument("--data", default="", help="look at this dataset folder instead of searching")
    info.set_defaults(do=_info)
    return parser


def _run(options) -> int:
    from pnlib import data, notebooks

    first = NOTEBOOKS.index(options.first) if options.first else 0
    chosen = [options.only] if options.only else list(NOTEBOOKS[first:])
    known = {name: notebooks.parameters(name) for name in NOTEBOOKS}
    given = parse_parameters(options.parameter, known, chosen)
    if "run" in given:
        raise InputError(f"Name the run with --name {given['run']}, not with -p run.")
    if options.only and options.first:
        raise InputError(f"--only {options.only} and --from {options.first} exclude each other; give one.")
    if options.in_place and (given or len(chosen) < len(NOTEBOOKS) or options.name != "default"):
        raise InputError(
            "--in-place saves the whole series with its defaults; leave out -p, --name, --only and --from."
        )
    if options.force and "04_train" not in chosen:
        raise InputError("--force begins a training anew, and 04_train is left out here; leave one of both out.")
    if given.get("data") not in (None, "", "demo"):
        given["data"] = str(runs.resolve(given["data"]))
    if options.skip_damaged:
        os.environ["PNLIB_DAMAGED"] = "skip"  # the kernels inherit it
    dataset = data.find(given.get("data", ""))
    print(dataset.describe(), flush=True)
    if dataset.is_demo:
        print("For the real X-rays: `make data` (1.2 GB), or set PNLIB_DATA to their folder.", flush=True)

    if options.in_place and not dataset.is_published:
        raise InputError(
            f"The committed notebooks show the published X-rays, and this is {dataset.edition}; set PNLIB_DATA to them."
        )

    given["run"] = options.name
    with runs.only_one(options.name, "executing notebooks"):
        return _run_notebooks(options, chosen, known, given, dataset)


def _run_notebooks(options, chosen: list[str], known: dict, given: dict, dataset) -> int:
    from pnlib import notebooks

    folder = runs.run_dir(options.name)
    if options.force:
        with runs.only_one(options.name):
            kept = runs.set_aside(folder / "train.partial")
        if kept:
            print(f"The unfinished training is kept as {kept}.", flush=True)
    if options.in_place:
        for old in ("train", "evaluate"):  # a loaded training would print no epochs, an old evaluation a line
            runs.set_aside(folder / old)
    for name in [*chosen, *([SUPPLEMENT] if options.in_place else [])]:
        print(f"\n== {name}", flush=True)
        started = time.perf_counter()
        parameters = {} if options.in_place else {p: v for p, v in given.items() if p in known[name]}
        output = folder / "notebooks" / f"{name}.ipynb"
        try:
            notebooks.execute(name, output, parameters)
        except notebooks.NotebookFailed as error:
            print(f"pnlib: {error}", file=sys.stderr)
            return 1
        notebooks.to_html(output)
        print(f"== {name} done in {time.perf_counter() - started:.0f} s", flush=True)
    if options.in_place:
        notebooks.save_in_place(folder)
    _report(folder, dataset, evaluated="05_evaluate" in chosen)
    return 0


def parse_parameters(pairs: list[list[str]], known: dict[str, dict], chosen: list[str]) -> dict:
    """Turn `-p NAME VALUE` pairs into typed, range-checked values.

    papermill itself would hand 'false' over as a truthy string and let a misspelt name pass with a warning.

    Raises:
        InputError: a name that no notebook has (with the nearest one), that the chosen ones lack, that was given
            twice, or a value of the wrong type or out of range.
    """
    import yaml

    everywhere = sorted(set().union(*known.values()))
    values = {}
    for name, text in pairs:
        if name not in everywhere:
            near = difflib.get_close_matches(name, everywhere, 1)
            hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(everywhere)}."
            raise InputError(f"No notebook has a parameter {name!r}: {hint}")
        if name in values:
            raise InputError(f"Parameter {name!r} is given twice; give it once.")
        if not any(name in known[notebook] for notebook in chosen):
            raise InputError(
                f"{', '.join(chosen)} has no parameter {name!r}; it belongs to "
                f"{', '.join(n for n in known if name in known[n])}."
            )
        kind, _, words = runs.PARAMETERS[name]
        try:
            layers = name == "augmentation" and text.lstrip().startswith("{")  # as YAML, like in a study
            values[name] = yaml.safe_load(text) if layers else kind(text)
        except (ValueError, RecursionError, yaml.YAMLError):
            raise InputError(f"Parameter {name}={text[:200]!r} is not possible; give {words}.") from None
        runs.check(**{name: values[name]})
    return values


def _report(folder: Path, dataset, evaluated: bool) -> None:
    """What a run reached, and where everything lies."""
    metrics = folder / "evaluate" / "metrics.json"
    if evaluated:
        values = runs.read_json(metrics)
        print(f"\nResults on {values['images']} test images ({dataset.edition}), threshold {values['threshold']}:")
        for name, (value, low, high) in values["metrics"].items():
            print(f"  {name.replace('_', ' '):<16} {value:.3f}   95 % interval {low:.3f} to {high:.3f}")
        if dataset.is_demo:
            print("  DEMO DATA: synthetic phantoms, not X-rays.")
        print("  It teaches; it is no medical device.")
    print(f"\nEverything lies in {folder}")
    for sub, what in (
        ("notebooks", "executed notebooks (.ipynb) and reports (.html)"),
        ("train", "the trained model"),
        ("evaluate", "figures on the test images"),
        ("figures", "pictures"),
    ):
        if (folder / sub).is_dir():
            print(f"  {sub + '/':<12} {what}")


def _study(options) -> int:
    from pnlib import data, study

    for name in ("workers", "threads"):
        if getattr(options, name) < 0:
            raise InputError(f"--{name} {getattr(options, name)} is not possible; give 1 or more, or leave it out.")
    dataset = data.find(options.data)
    print(dataset.describe(), flush=True)
    plan = study.read(options.study, dataset)
    if plan.test:
        print("This study ends with the test images: its recipes must have been chosen before.", flush=True)
    failed = 0
    if not options.table:
        failed = study.run(plan, dataset, options.scheduler, options.workers, options.threads)
    path = study.write(plan)
    if path is None:
        raise (
            InputError(f"Study {plan.name!r} has no finished cell; see what failed above.")
            if failed
            else InputError(f"Study {plan.name!r} has no finished cell yet; run it without --table.")
        )
    print(study.summary(study.collect(plan)).to_string())
    print(
        f"\nEverything lies in {plan.folder}\n  table.csv    one row a cell\n  plot.png     recipes against validation"
    )
    print("  cells/       notebooks and figures of each cell")
    if failed:
        print(
            f"pnlib: {failed} of {len(plan.cells)} cells failed; the same line again tries them anew.", file=sys.stderr
        )
    return 1 if failed else 0


def _download(options) -> int:
    from pnlib import download

    print(f"Downloading {download.BYTES / 1e9:.2f} GB from {download.URL}", flush=True)
    target = download.fetch(options.to)
    print(
        f"The dataset lies in {target}; `pnlib run` will use it" + (" once PNLIB_DATA names it." if options.to else ".")
    )
    return 0


def _info(options) -> int:
    from pnlib import data, notebooks

    dataset = data.find(options.data)
    print(dataset.describe(), f"folder: {dataset.root}", f"runs: {runs.runs_dir()}", sep="\n")
    for folder in sorted(runs.runs_dir().glob("*/train")) if runs.runs_dir().is_dir() else []:
        print(f"  {folder.parent.name}")
    print("parameters (pnlib run -p NAME VALUE):")
    for name in NOTEBOOKS:
        print(f"  {name}")
        for parameter, about in notebooks.parameters(name).items():
            line = f"{parameter}: {about['inferred_type_name']} = {about['default']}  {about['help']}"
            print(textwrap.indent(textwrap.fill(line, 110, subsequent_indent="    "), "    "))
    return 0


if __name__ == "__main__":
    sys.exit(main())
