"""The options of `pnlib`'s commands, which are in `commands`, `predicting`, `page` and `doctor`."""

import argparse
import importlib
import os
import sys

from pnlib import __version__
from pnlib.base import paths
from pnlib.base.errors import InputError
from pnlib.runner import NOTEBOOKS, SERIES
from pnlib.runner.signals import Ended, ended_by_signals, say


def main(arguments: list[str] | None = None) -> int:
    """Entry point; returns the exit status.

    0 done, 1 a notebook failed, 2 bad input, 130 interrupted by Ctrl-C, 143 by SIGTERM (a batch queue's time limit),
    129 by SIGHUP (the terminal was closed).
    """
    options = _parser().parse_args(arguments)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # a terminal that knows no umlauts is no reason to lose a run
    try:
        if os.environ.get("PNLIB_DATA", "demo") not in ("", "demo"):
            # kernels start in other folders: make a relative path absolute first
            os.environ["PNLIB_DATA"] = str(paths.resolve(os.environ["PNLIB_DATA"]))
        with ended_by_signals():
            module, function = options.do
            return getattr(importlib.import_module(f"pnlib.runner.{module}"), function)(options)
    except InputError as error:
        say(f"{error}")
        return 2
    except Ended as ended:
        say(f"ended by {ended.args[0].name}; run the same line again to go on.")
        return 128 + ended.args[0]
    except KeyboardInterrupt:
        say("interrupted; run the same line again to go on.")
        return 130
    except BrokenPipeError:  # `pnlib info | head`: as a shell's own commands end
        say("nobody reads what is printed; run the same line again to go on.")
        return 128 + 13


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="pnlib",
        description="Five notebooks that teach pneumonia classification in chest X-rays: run them, fetch their data. "
        "It teaches; it is no medical device.",
    )
    parser.add_argument("--version", action="version", version=f"pnlib {__version__}")
    of = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_run(of)
    _add_study(of)
    _add_predict(of)

    download = of.add_parser(
        "download",
        help="fetch the published dataset (1.2 GB)",
        description="Download the published dataset, verify its SHA-256, unpack it to data/chest_xray. After any "
        "interruption, the same line goes on where it ended.",
    )
    download.add_argument("--to", metavar="FOLDER", help="unpack to this folder instead (then set PNLIB_DATA to it)")
    download.add_argument(
        "--from",
        dest="archive",
        metavar="FILE",
        help="download nothing; unpack this file: a zip archive with train and test folders in it (Mendeley's, "
        "Kaggle's, your own) or MedMNIST's pneumoniamnist_224.npz",
    )
    download.add_argument(
        "--external",
        action="store_true",
        help="download nothing; say where the external test set of 09_external is to be had, and what of it is here",
    )
    download.set_defaults(do=("commands", "download_dataset"))

    copy = of.add_parser(
        "notebooks",
        help="copy the course to a folder: notebooks, solutions, documents, studies, trained networks",
        description="Copy the course to a new folder. `pnlib run` and JupyterLab work there as in a clone of the "
        "project.",
    )
    copy.add_argument("folder", metavar="FOLDER", help="a folder that is new or empty")
    copy.set_defaults(do=("commands", "copy_course"))

    info = of.add_parser("info", help="say which dataset is found, which runs there are, which parameters exist")
    info.add_argument("--data", default="", help="look at this dataset instead of searching")
    info.set_defaults(do=("commands", "info"))

    doctor = of.add_parser(
        "doctor",
        help="check packages, processor, memory, disk and dataset, and say what to do",
        description="Check what the course needs: packages, processor, TensorFlow, memory, disk, dataset. For each "
        "problem it says what to do. Exit status 1: there is a problem.",
    )
    doctor.add_argument("--data", default="", help="look at this dataset instead of searching")
    doctor.set_defaults(do=("doctor", "doctor"))
    return parser


def _add_run(of: argparse._SubParsersAction) -> None:
    run = of.add_parser(
        "run",
        help="execute the notebooks, in order, into runs/NAME/",
        description="Execute the notebooks with papermill, in order, into runs/NAME/notebooks/, with an HTML report of "
        "each. A failed notebook stops the chain; the same line again goes on where a training was interrupted.",
        epilog="Example: pnlib run --name quick -p epochs 2 -p augmentation none",
    )
    run.add_argument(
        "-p", "--parameter", nargs=2, action="append", default=[], metavar=("NAME", "VALUE"),
        help="a notebook's parameter or a setting of the training, e.g. -p epochs 20 (may be repeated; `pnlib info` "
        "lists them)",
    )  # fmt: skip
    run.add_argument("--only", choices=NOTEBOOKS, help="execute this notebook alone")
    run.add_argument("--from", dest="first", choices=SERIES, help="begin with this notebook")
    run.add_argument("--name", default="default", help="the run's name, and its folder in runs/ (default: %(default)s)")
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
    run.set_defaults(do=("commands", "run"))


def _add_predict(of: argparse._SubParsersAction) -> None:
    predict = of.add_parser(
        "predict",
        help="ask a trained network about image files (it is no medical device)",
        description="Print what a trained network says of each image file, as it comes: JPEG, PNG, TIFF, WebP, BMP or "
        "DICOM. No answer is given for images that are unlike the training images, frontal chest X-rays of children. "
        "Where the files lie in class folders (NORMAL, PNEUMONIA), metrics follow on stderr. Exit status 1: a file "
        "couldn't be read.",
        epilog="Example: pnlib predict my_images --csv > answers.csv",
    )
    predict.add_argument("files", nargs="+", metavar="FILE", help="a file, a folder, or - for names on stdin")
    predict.add_argument("--model", default="compact", help="compact, baseline or the name of a run (%(default)s)")
    form = predict.add_mutually_exclusive_group()
    form.add_argument("--csv", action="store_true", help="print a table with a header")
    form.add_argument("--json", action="store_true", help="print one JSON object per line")
    predict.add_argument("--force", action="store_true", help="give a probability for images of other kinds too")
    predict.add_argument("--heatmap", metavar="FOLDER", help="save a picture of each with what speaks for pneumonia")
    predict.add_argument("--scheduler", default="", metavar="ADDRESS", help="a Dask scheduler, e.g. tcp://node1:8786")
    predict.set_defaults(do=("predicting", "predict"))
    page = of.add_parser(
        "page",
        help="the same as a page in your browser, with heat maps and similar images",
        description="Show the last section of 08_predict as a page. It is no medical device. "
        "It needs one more package: pip install 'pnlib[page]'.",
    )
    page.add_argument("--port", type=int, default=8866, help="where it listens (default: %(default)s)")
    page.add_argument(
        "--ip", default="127.0.0.1", help="for whom: this computer alone (%(default)s), or 0.0.0.0 for all"
    )
    page.add_argument("--no-browser", dest="browser", action="store_false", help="open no browser")
    page.set_defaults(do=("page", "page"))
    export = of.add_parser(
        "export",
        help="write a trained network as ONNX, Keras or TensorFlow Lite, with its preprocessing inside",
        description="Write a model as a file for other programs: gray pixels in, probability out. ONNX needs more "
        "packages: pip install 'pnlib[export]'.",
    )
    export.add_argument("model", metavar="MODEL", help="baseline, compact or the name of a run")
    export.add_argument("--to", required=True, metavar="FILE", help="a name ending in .onnx, .keras or .tflite")
    export.set_defaults(do=("predicting", "export"))


def _add_study(of: argparse._SubParsersAction) -> None:
    study = of.add_parser(
        "study",
        help="run a grid of configs and seeds on Dask, and compare them on validation",
        description="Run each config of STUDY.yaml with each seed, a trial being one papermill execution of 04_train, "
        "on Dask: a local cluster, or a scheduler that you have. Finished trials are kept in runs/studies/NAME/; "
        "whatever is killed, the same line again does the rest.",
        epilog="Example: pnlib study studies/baseline.yaml --workers 2 --threads 1",
    )
    study.add_argument("study", metavar="STUDY.yaml", help="the grid; studies/ has examples")
    study.add_argument("--scheduler", default="", metavar="ADDRESS", help="a Dask scheduler, e.g. tcp://node1:8786")
    study.add_argument("--workers", type=int, default=0, help="workers of the local cluster (default: cores / threads)")
    study.add_argument("--threads", type=int, default=0, help="threads of each trial (default: 2)")
    study.add_argument(
        "--data", default="", help="dataset folder or CSV file, or 'demo' (default: search, as pnlib run does)"
    )
    study.add_argument(
        "--table", action="store_true", help="run nothing; write and print the table of what is finished"
    )
    study.set_defaults(do=("commands", "study"))
