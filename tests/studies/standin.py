"""A stand-in for papermill in the workers of a study. It leaves what a trial leaves, and fails or kills as STANDIN_… say.

STANDIN_LOG     a file: each execution adds a line (notebook, augmentation, seed, process, threads)
STANDIN_FAILS   an augmentation whose trials fail
STANDIN_KILLS   'worker': the first execution kills its own process. 'group' or a process's number: once a trial is
                stored below STANDIN_STORED, the next execution kills the process group it is in, or that process
"""

import json
import os
import signal
import time
from pathlib import Path

NORMALS = PNEUMONIAS = 20
GRID = """
name: small
about: does it count?
common: {epochs: 1, batch_size: 16}
configs:
  plain: {augmentation: none}
  strong: {augmentation: strong}
seeds: [0, 1]
"""


def execute(name: str, output: Path, values: dict) -> None:
    log, run = Path(os.environ["STANDIN_LOG"]), output.parent.parent
    settings = values.get("augmentation"), values.get("seed")
    with log.open("a") as file:
        file.write(json.dumps([name, *settings, os.getpid(), os.environ["OMP_NUM_THREADS"]]) + "\n")
    run.mkdir(exist_ok=True)
    (run / "begun").touch()
    kill(os.environ.get("STANDIN_KILLS", ""), len(log.read_text().splitlines()))
    if settings[0] == os.environ.get("STANDIN_FAILS", "nothing"):
        raise RuntimeError(f"{name} failed in cell 7\nIts partial output lies in {output}")
    if name == "05_evaluate":
        found = {"metrics.json": json.dumps({"metrics": {"accuracy": [0.9, 0.8, 1.0]}}), "predictions.csv": "path\n"}
        leave(run / "evaluate", found)
    else:
        leave(run / "train", {
            "provenance.json": json.dumps(values), "environment.json": "{}", "history.csv": "epoch\n1\n",
            "stress.csv": stress_table(*settings), "index.csv": "path\n", "weights.npz": "",
        })  # fmt: skip
    leave(output.parent, {output.name: "{}"})


def leave(folder: Path, files: dict[str, str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_text(content)


def stress_table(augmentation: str, seed: int) -> str:
    """One row per patient, half of them in a shifted group, where the network does worse: better with another seed, and
    with a strong augmentation. Blur turns every fifth answer round."""
    better = 0.02 * seed + 0.05 * (augmentation == "strong")
    lines = ["path,label,patient,random,framing,as it is,blur,swapped"]
    for i in range(NORMALS + PNEUMONIAS):
        p = (0.55 + better if i % 2 else 0.45) + (0.015 if i < 20 else 0.009) * i * (-1) ** (i // 2)
        lines.append(f"{i}.jpeg,{i % 2},p{i},{i < 20},{i >= 20},{p},{p if i % 5 else 1 - p},{p}")
    return "\n".join(lines)


def kill(what: str, executions: int) -> None:
    if what == "worker" and executions == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    elif what not in ("", "worker") and executions > 1:
        while not list(Path(os.environ["STANDIN_STORED"]).glob("*/trial.json")):
            time.sleep(0.05)
        if what == "group":
            os.killpg(0, signal.SIGKILL)
        os.kill(int(what), signal.SIGKILL)
