"""What the commands do."""

import difflib
import os
import shutil
import sys
import textwrap
import time
from argparse import Namespace
from pathlib import Path
from typing import Any

from pnlib.base import files, paths
from pnlib.base.errors import InputError
from pnlib.config import PARAMETERS, TrainConfig, check_parameters
from pnlib.datasets import Dataset, download, external, find_dataset
from pnlib.runner import NOTEBOOKS, SERIES, SUPPLEMENTS, notebooks
from pnlib.runner.notebooks import SETTINGS


def run(options: Namespace) -> int:
    """Execute the series, or a part of it."""
    first = SERIES.index(options.first) if options.first else 0
    chosen = [options.only] if options.only else list(SERIES[first:])
    given = parse_parameters(options.parameter, chosen)
    if "run" in given:
        raise InputError(f"Name the run with --name {given['run']}, not with -p run.")
    if options.only and options.first:
        raise InputError(f"--only {options.only} and --from {options.first} exclude each other; give one.")
    if options.in_place and (given or len(chosen) < len(SERIES) or options.name != "default"):
        raise InputError(
            "--in-place saves the whole series with its defaults; leave out -p, --name, --only and --from."
        )
    if options.force and "04_train" not in chosen:
        raise InputError("--force begins a training anew, and 04_train is left out here; leave one of both out.")
    if given.get("data") not in (None, "", "demo"):
        given["data"] = str(paths.resolve(given["data"]))
    if options.skip_damaged:
        os.environ["PNLIB_DAMAGED"] = "skip"  # the kernels inherit it
    dataset = find_dataset(given.get("data", ""))
    print(dataset.describe(), flush=True)
    if dataset.is_demo:
        print("For the real X-rays: `make data` (1.2 GB), or set PNLIB_DATA to their folder.", flush=True)
    if options.in_place and not dataset.is_published:
        raise InputError(
            f"The committed notebooks show the published X-rays, and this is {dataset.edition}; set PNLIB_DATA to them."
        )
    if options.in_place:
        external.find_external()  # 09 needs it, at the end
    with files.locked(paths.run_dir(options.name), "executing notebooks"):
        return _run_notebooks(options, chosen, given, dataset)


def _run_notebooks(options: Namespace, chosen: list[str], given: dict, dataset: Dataset) -> int:
    folder = paths.run_dir(options.name)
    if options.force:
        with files.locked(folder, "training"):
            kept = files.set_aside(folder / "train.partial")
        if kept:
            print(f"The unfinished training is kept as {kept}.", flush=True)
    if options.in_place:
        for old in ("train", "evaluate"):  # a loaded training would print no epochs, an old evaluation a line
            files.set_aside(folder / old)
    for name in [*chosen, *(SUPPLEMENTS if options.in_place else ())]:
        print(f"\n== {name}", flush=True)
        started = time.perf_counter()
        output = folder / "notebooks" / f"{name}.ipynb"
        try:
            notebooks.execute(name, output, {} if options.in_place else {**given, "run": options.name}, echo=True)
        except notebooks.NotebookFailed as error:
            print(f"pnlib: {error}", file=sys.stderr)
            return 1
        notebooks.to_html(output)
        print(f"== {name} done in {time.perf_counter() - started:.0f} s", flush=True)
    if options.in_place:
        notebooks.save_in_place(folder)
    _report(folder, dataset, evaluated="05_evaluate" in chosen)
    return 0


def parse_parameters(pairs: list[list[str]], chosen: list[str]) -> dict:
    """Turn `-p NAME VALUE` pairs into typed, range-checked values.

    papermill itself would hand 'false' over as a truthy string and let a misspelt name pass with a warning.

    Raises:
        InputError: a name that no notebook has (with the nearest one), that the chosen ones lack, that was given
            twice, or a value of the wrong type or out of range.
    """
    known = {name: set(notebooks.parameters(name)) for name in NOTEBOOKS}
    known = {name: own - {"settings"} | (SETTINGS if "settings" in own else set()) for name, own in known.items()}
    everywhere = sorted(set().union(*known.values()))
    values: dict[str, Any] = {}
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
        values[name] = _typed(name, text)
        check_parameters(**{name: values[name]})
    return values


def _typed(name: str, text: str) -> Any:
    import yaml

    kinds = PARAMETERS[name].kinds
    try:
        if dict in kinds and text.lstrip().startswith("{"):  # as YAML, like in a study
            return yaml.safe_load(text)
        return (float if float in kinds else kinds[0])(text)
    except (ValueError, RecursionError, yaml.YAMLError):
        raise InputError(f"Parameter {name}={text[:200]!r} is not possible; give {PARAMETERS[name].range}.") from None


def _report(folder: Path, dataset: Dataset, evaluated: bool) -> None:
    """What a run reached, and where everything is."""
    if evaluated:
        values = files.read_json(folder / "evaluate" / "metrics.json")
        print(f"\nResults on {values['images']} test images ({dataset.edition}), threshold {values['threshold']}:")
        for name, (value, low, high) in values["metrics"].items():
            print(f"  {name.replace('_', ' '):<16} {value:.3f}   95 % interval {low:.3f} to {high:.3f}")
        if dataset.is_demo:
            print("  DEMO DATA: synthetic phantoms, not X-rays.")
        print("  It teaches; it is no medical device.")
    print(f"\nEverything lies in {folder}")
    for sub, what in (
        ("notebooks", "executed notebooks (.ipynb) and reports (.html)"),
        ("train", "the trained network"),
        ("evaluate", "results on the test images"),
        ("figures", "pictures"),
    ):
        if (folder / sub).is_dir():
            print(f"  {sub + '/':<12} {what}")


def study(options: Namespace) -> int:
    """Run a study's trials, and print its table."""
    from pnlib.studies import cluster, grid, table

    for name in ("workers", "threads"):
        if getattr(options, name) < 0:
            raise InputError(f"--{name} {getattr(options, name)} is not possible; give 1 or more, or leave it out.")
    dataset = find_dataset(options.data)
    print(dataset.describe(), flush=True)
    plan = grid.read_study(options.study, dataset)
    if plan.test:
        print("This study ends with the test images: its configs must have been chosen before.", flush=True)
    failed = 0
    if not options.table:
        where = cluster.Cluster(options.scheduler, options.workers, options.threads)
        failed = cluster.run_study(plan, dataset, notebooks.execute, where)
    if table.write_table(plan) is None:
        why = "; see what failed above." if failed else " yet; run it without --table."
        raise InputError(f"Study {plan.name!r} has no finished trial{why}")
    print(table.summary(table.collect(plan)).to_string())
    print(f"\nEverything lies in {plan.folder}")
    print("  table.csv    one row per trial\n  plot.png     configs against validation")
    print("  trials/      notebooks and figures of each trial")
    if failed:
        words = f"{failed} of {len(plan.trials)} trials failed; the same line again tries them anew."
        print(f"pnlib: {words}", file=sys.stderr)
    return 1 if failed else 0


def download_dataset(options: Namespace) -> int:
    """Fetch the published dataset, or unpack a file that is there, and say what it is; or look for the external one."""
    if options.external:
        return _external()
    if options.archive:
        print(f"Unpacking {options.archive}", flush=True)
        target = download.unpack_to(options.to, options.archive)
    else:
        print(f"Downloading {download.BYTES / 1e9:.2f} GB from {download.URL}", flush=True)
        target = download.download(options.to)
    print(find_dataset(str(target)).describe())
    once = " once PNLIB_DATA names it." if options.to else "."
    print(f"The dataset lies in {target}; `pnlib run` will use it{once}")
    return 0


def _external() -> int:
    """Say how to get the external test set, and what of it is there; 1 if some is missing."""
    print(
        f"The external test set is {len(external.listed())} chest X-rays of NIH ChestX-ray14. Get the archives "
        f"images_001 to images_012 (42 GB) in a browser from {external.SITE}, and unpack them anywhere below "
        f"{external.external_folder()}, or name another folder with PNLIB_EXTERNAL. Their other images are left alone."
    )
    print(f"{external.find_external().edition} found; 09_external will use them.")
    return 0


def copy_course(options: Namespace) -> int:
    """Copy the course to a folder, and say what was copied."""
    target, source = Path(os.path.expanduser(options.folder)).absolute(), paths.course()
    with files.writing(target):
        if target.exists() and not (target.is_dir() and not any(target.iterdir())):
            raise InputError(f"{target} is there already; give a new folder, so that nothing is overwritten.")
        for part in paths.COURSE:
            shutil.copytree(source / part, target / part, ignore=shutil.ignore_patterns(".*"))
    print(f"The course lies in {target}")
    for part, what in (
        ("notebooks/", f"{len(NOTEBOOKS)} notebooks, executed on the published X-rays; solutions/"),
        ("models/", "trained networks, for 05 to 09"),
        ("studies/", "grids of settings and their results, for 07"),
        ("docs/", "glossary, teaching, results; its pictures are in nb_images/"),
    ):
        print(f"  {part:<12} {what}")
    print("Go there for `pnlib run` or `jupyter lab notebooks`. Without X-rays, pnlib draws its demo dataset.")
    return 0


def info(options: Namespace) -> int:
    """Say which dataset is found, which runs there are, which parameters and settings."""
    try:
        dataset = find_dataset(options.data)
        print(dataset.describe(), f"folder: {dataset.root}", f"runs: {paths.runs_dir()}", sep="\n")
        for folder in sorted(paths.runs_dir().glob("*/train")) if paths.runs_dir().is_dir() else []:
            print(f"  {folder.parent.name}")
    except paths.Away as away:
        print(away)
    print("parameters (pnlib run -p NAME VALUE):")
    for name in NOTEBOOKS:
        own = notebooks.parameters(name)
        _list(name, {n: f"{a['inferred_type_name']} = {a['default']}  {a['help']}" for n, a in own.items()})
        if "settings" in own:
            _list("  settings", {n: words for n, words in TrainConfig.describe().items() if n not in own})
    return 0


def _list(heading: str, lines: dict[str, str]) -> None:
    print(f"  {heading}")
    for name, words in lines.items():
        print(textwrap.indent(textwrap.fill(f"{name}: {words}", 110, subsequent_indent="    "), "    "))
