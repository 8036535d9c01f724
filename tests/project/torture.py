"""The long campaign: kill a real training again and again, cut writers at each system call, fill a small disk, train in
odd surroundings, fuzz.

    python tests/project/torture.py          # writes docs/torture.md; about a quarter of an hour on two cores
    python tests/project/torture.py 1234     # with this seed, to repeat a campaign
    python tests/project/torture.py --quick  # a few kills of a short training, no fuzzing; writes nothing

Each kill is a SIGKILL of a running `pnlib run --only 04_train`: of both processes, of the kernel alone or of papermill
alone. Then the same line is run again. At the end the weights must be those of an undisturbed run, to the bit.
Fuzzing is tests/core/test_fuzz*.py with many examples (the profile `long` of tests/conftest.py) instead of a few.
"""

import collections
import concurrent.futures
import contextlib
import dataclasses
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
import psutil

TESTS = Path(__file__).resolve().parents[1]
ON_PATH = [str(TESTS), *(str(TESTS / folder) for folder in ("core", "notebooks", "runner"))]
sys.path[:0] = ON_PATH

from conftest import COUNTS  # noqa: E402
from executing import environment_of  # noqa: E402

from pnlib.base import files, machine  # noqa: E402
from pnlib.datasets import demo  # noqa: E402


@dataclasses.dataclass
class Campaign:
    """How often, and of how long a training: `stages` says how many kills hit each stage of a chain."""

    epochs: int = 10
    chains: int = 2
    stages: dict = dataclasses.field(
        default_factory=lambda: {
            "loading": 3,
            "first batch": 4,
            "mid-epoch": 4,
            "writing a checkpoint": 4,
            "finishing": 3,
        }
    )


QUICK = Campaign(3, 1, {"loading": 1, "first batch": 1, "mid-epoch": 1, "writing a checkpoint": 1, "finishing": 1})
VICTIMS = ("both", "kernel", "papermill")
FINISHING = ("history.csv", "index.csv")
WHOLE = (*FINISHING, "environment.json", "fingerprint.json", "provenance.json", "weights.npz")
IMAGES = {group: 4 * number for group, number in COUNTS.items()}  # several steps per epoch
BATCH = 32  # the default, of the baseline network: a smaller one hid that its bits depended on the order of threads
# What compares bits of trainings in several processes takes one thread in each.
ONE_THREAD = dict.fromkeys(("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS"), "1")
CHILD = f"import sys\nsys.path[:0] = {ON_PATH!r}\n"


def main() -> int:
    given = [argument for argument in sys.argv[1:] if argument != "--quick"]
    quick = "--quick" in sys.argv
    campaign = QUICK if quick else Campaign()
    seed = int(given[0]) if given else random.randrange(10_000)
    print(f"seed {seed}", flush=True)
    started, rng = time.perf_counter(), random.Random(seed)
    with tempfile.TemporaryDirectory(prefix="torture-") as folder:
        folder = Path(folder)
        with concurrent.futures.ThreadPoolExecutor() as executor:
            # meanwhile: a training's bits don't depend on what else runs
            fuzzing = [] if quick else [executor.submit(fuzz, seed)]
            others = [cut_at_each_system_call(folder), fail_at_each_write(folder), fill_a_small_disk(folder)]
            others += [interrupt_a_cell(folder), train_in_odd_surroundings(folder)]
            kills, problems = kill_trainings(folder, campaign, rng)
            others += [each.result() for each in fuzzing]
    report(seed, campaign, kills, problems, others, time.perf_counter() - started, write=not quick)
    return int(bool(problems) or any("FAILED" in line for line in others))


# --- a real training, killed


def kill_trainings(folder: Path, campaign: Campaign, rng) -> tuple[collections.Counter, list[str]]:
    """Kills by (stage, victim), and what went wrong."""
    images = folder / "images"
    images.mkdir()
    demo.draw_demo(images, seed=3, counts=IMAGES)
    environment = environment_of(folder, str(images))
    undisturbed = run("undisturbed", campaign, environment)
    assert undisturbed.wait() == 0, f"the undisturbed run failed: {said_by('undisturbed', environment)}"
    expected = result_of(folder / "runs" / "undisturbed" / "train")
    kills, problems = collections.Counter(), []
    for chain in range(campaign.chains):
        name = f"chain{chain}"
        stages = [stage for stage, number in campaign.stages.items() for _ in range(number) if stage != "finishing"]
        rng.shuffle(stages)
        for stage in [*stages, *["finishing"] * campaign.stages["finishing"]]:
            victim = rng.choice(VICTIMS)
            hit, found = kill_at(stage, victim, name, campaign, environment, rng)
            found += damage(folder / "runs" / name)
            problems += [f"{name}, {stage}: {words}" for words in found]
            kills[stage if hit else "missed", victim] += 1
            print(
                f"{name}: {victim} killed, {stage}{'' if hit else ' MISSED'}, {epochs_of(folder / 'runs' / name)} {'; '.join(found)}",
                flush=True,
            )
        status = run(name, campaign, environment).wait()
        output = said_by(name, environment)
        if status:
            problems.append(f"{name}: the last line ended with {status}: {output[-500:]}")
            continue
        if not re.search("Going on after epoch|was trained before with these very settings", output):
            problems.append(f"{name}: nothing said that it went on")
        same = result_of(folder / "runs" / name / "train") == expected
        words = (
            f"{name}: {'ends like the undisturbed run' if same else 'other weights, history or files than undisturbed'}"
        )
        print(words, flush=True)
        problems += [] if same else [words]
    return kills, problems


def run(name: str, campaign: Campaign, environment: dict):
    """Start the line; what it prints goes to a file."""
    line = [sys.executable, "-m", "pnlib", "run", "--only", "04_train", "--name", name,
            "-p", "epochs", str(campaign.epochs), "-p", "batch_size", str(BATCH)]  # fmt: skip
    with open(place_of_output(name, environment), "w") as output:
        return subprocess.Popen(line, env=environment, stdout=output, stderr=subprocess.STDOUT)


def place_of_output(name: str, environment: dict) -> Path:
    return Path(environment["PNLIB_CACHE"]).with_name(f"{name}.txt")


def said_by(name: str, environment: dict) -> str:
    return place_of_output(name, environment).read_text(errors="replace")


def kill_at(stage: str, victim: str, name: str, campaign: Campaign, environment: dict, rng) -> tuple[bool, list[str]]:
    """Start the line, kill at a random moment of the stage; False where it ended before. And what went wrong."""
    folder = Path(environment["PNLIB_RUNS"]) / name
    partial = folder / "train.partial"
    wanted = rng.choice(FINISHING)
    looked_at = (partial / "fingerprint.json", partial / "state.npz", partial / wanted, folder / "train")
    before = {file: inode(file) for file in looked_at}
    leftovers = set(partial.glob(".*"))  # of writes that were killed before

    def is_new(file: Path) -> bool:
        return inode(file) not in (0, before[file])

    def is_written(name: str) -> bool:
        return bool(set(partial.glob(f".{name}.*")) - leftovers)

    delay = rng.random()
    process = run(name, campaign, environment)
    kernel = None
    began = time.perf_counter()
    while process.poll() is None:
        if kernel is None:
            kernel = next(iter(psutil.Process(process.pid).children()), None)
            continue
        due = {
            "loading": lambda: time.perf_counter() - began > 8 * delay,
            "first batch": lambda: (
                is_new(partial / "fingerprint.json") or "Going on after" in said_by(name, environment)
            ),
            "mid-epoch": lambda: is_new(partial / "state.npz"),
            "writing a checkpoint": lambda: is_written("weights.npz" if delay < 0.3 else "state.npz"),
            "finishing": lambda: is_written(wanted) or is_new(partial / wanted) or is_new(folder / "train"),
        }[stage]()
        if due:
            time.sleep({"first batch": 3, "mid-epoch": 1, "writing a checkpoint": 0.1}.get(stage, 0) * delay)
            hit = process.poll() is None and (stage == "finishing" or not (folder / "train").exists())
            for one in {"both": (kernel, process), "kernel": (kernel,), "papermill": (process,)}[victim]:
                with contextlib.suppress(psutil.NoSuchProcess, ProcessLookupError):
                    one.send_signal(signal.SIGKILL)
            break
        time.sleep(0.0005)
    else:
        hit = False
    status, wrong = process.wait(), []
    output = said_by(name, environment)
    said = [line for line in output.splitlines() if line.startswith("pnlib: ")]
    if hit and victim == "kernel" and (status != 1 or len(said) != 1 or "Traceback" in output):
        wrong.append(f"a dead kernel gave status {status} and {output[-300:]!r}")
    try:
        if kernel is not None:
            kernel.wait(60)  # papermill's kernel looks for its parent once a second
    except psutil.NoSuchProcess:
        pass
    except psutil.TimeoutExpired:
        wrong.append("a kernel lives on")
        kernel.kill()
    return hit, wrong


def inode(path: Path) -> int:
    """Another one each time a file is written whole."""
    with contextlib.suppress(OSError):
        return path.stat().st_ino
    return 0


def epochs_of(folder: Path) -> str:
    with contextlib.suppress(OSError):
        with np.load(folder / "train.partial" / "state.npz") as state:
            return f"{len(json.loads(str(state['history'])))} epochs kept"
    return "finished" if (folder / "train").exists() else "no epoch yet"


def damage(folder: Path) -> list[str]:
    """Files of a run that can't be read whole, under the names that readers use."""
    found = []
    for file in folder.rglob("*"):
        if not file.is_file() or file.name.startswith(".") or file.name.endswith(".running.ipynb"):
            continue
        try:
            if file.suffix in (".json", ".ipynb"):
                json.loads(file.read_text())
            elif file.suffix == ".npz":
                with np.load(file) as state:
                    [state[name] for name in state.files]
            elif file.suffix == ".csv":
                assert len(pd.read_csv(file))
        except Exception as error:
            found.append(f"{file.relative_to(folder)} is damaged: {error!r}")
    if (folder / "train").exists() and not all((folder / "train" / file).is_file() for file in WHOLE):
        found.append("train/ is not whole")
    return found


def result_of(folder: Path):
    """What must be the same: weights, history without the seconds, which files there are."""
    history = pd.read_csv(folder / "history.csv").drop(columns="seconds")
    with np.load(folder / "weights.npz") as stored:
        weights = [stored[name].tobytes() for name in stored.files]
    return weights, history.to_csv(), sorted(file.name for file in folder.iterdir())


# --- writers, cut at each system call

WRITER = """
import os, sys
from pathlib import Path
from pnlib.base import files
from pnlib.base.errors import InputError
folder = Path(sys.argv[1])
print("ready", flush=True)
sys.stdin.readline()
status = 0
try:
    files.atomic_write(folder / "a.txt", "new" * 5000)
    files.write_json(folder / "partial" / "b.json", ["new"] * 500)
    files.put_in_place(folder / "partial", folder / "final")
except InputError:
    status = 3
os._exit(status)
"""


def writer(folder: Path, *options: str) -> tuple[int, str]:
    """Run the writer over old files, with strace attached; its exit status, and what is not as it must be ('' if all is)."""
    place = Path(tempfile.mkdtemp(dir=folder))
    files.atomic_write(place / "a.txt", "old" * 5000)
    files.write_json(place / "final" / "b.json", ["old"] * 500)
    child = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(place)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    child.stdout.readline()
    tracer = subprocess.Popen(["strace", "-f", "-qq", *options, "-p", str(child.pid)], stderr=subprocess.DEVNULL)
    while "TracerPid:\t0" in Path(f"/proc/{child.pid}/status").read_text() and tracer.poll() is None:
        time.sleep(0.002)
    if tracer.poll() is not None and child.poll() is None:
        child.kill()
        raise PermissionError("strace may not attach here")
    child.communicate("\n")
    tracer.wait()
    contents = {
        file.relative_to(place).as_posix(): file.read_text() for file in place.rglob("[a-z]*.*") if file.is_file()
    }
    finals = [contents.get(f"{name}/b.json") for name in ("final", "final~1", "partial")]
    old, new = (json.dumps([word] * 500, indent=1) + "\n" for word in ("old", "new"))
    wrong = ""
    if contents["a.txt"] not in ("old" * 5000, "new" * 5000):
        wrong = "a.txt is a part"
    elif old not in finals:
        wrong = "the old folder is lost"
    elif any(text not in (old, new, None) for text in finals):
        wrong = "b.json is a part"
    elif child.returncode == 0 and (finals[0] != new or contents["a.txt"] != "new" * 5000):
        wrong = "it says done, and is not"
    elif child.returncode == 3 and [f for f in place.rglob(".*") if f.is_file()]:
        wrong = "a temporary file was left"
    shutil.rmtree(place)
    return child.returncode, wrong


def system_calls(folder: Path) -> collections.Counter | str:
    """How often a writer makes each system call, or why that can't be seen."""
    if not shutil.which("strace"):
        return "skipped, there is no strace"
    log = folder / "strace.log"
    try:
        writer(folder, "-o", str(log))
    except PermissionError as error:
        return f"skipped, {error}"
    return collections.Counter(re.findall(r"^\d+ +(\w+)\(", log.read_text(), re.M))


def cut_at_each_system_call(folder: Path) -> str:
    """SIGKILL at the first, second… of each system call that a writer makes."""
    if isinstance(calls := system_calls(folder), str):
        return f"cut at each system call: {calls}"
    calls = {name: number for name, number in calls.items() if name not in ("exit_group", "restart_syscall")}
    wrong, killed = [], 0
    for name, number in calls.items():
        for when in range(1, number + 1):
            status, words = writer(
                folder, "-o", os.devnull, "-e", f"trace={name}", "-e", f"inject={name}:signal=KILL:when={when}"
            )
            killed += status == -signal.SIGKILL
            wrong += [f"{name} {when}: {words}"] if words else []
    return verdict(f"cut at each system call: {killed} kills at {', '.join(sorted(calls))}", wrong, killed > 30)


def fail_at_each_write(folder: Path) -> str:
    """'No space left on device' at the first, second… of each system call that takes space."""
    if isinstance(calls := system_calls(folder), str):
        return f"no space at each system call: {calls}"
    wrong, refused = [], 0
    for name in ("write", "fsync", "rename", "mkdir"):
        for when in range(1, calls[name] + 1):
            status, words = writer(
                folder, "-o", os.devnull, "-e", f"trace={name}", "-e", f"inject={name}:error=ENOSPC:when={when}"
            )
            refused += status == 3
            wrong += [f"{name} {when}: {words or f'exit status {status}'}"] if words or status not in (0, 3) else []
    return verdict(f"no space at each system call: {refused} sentences, nothing half-written", wrong, refused > 6)


# --- a disk that is full, really

TRAINING = """
from trainings import trained, weights_of
from pnlib import InputError
import hashlib
try:
    trained(sys.argv[1], epochs=2, network="compact")
except InputError as error:
    print("refused:", error)
else:
    print("bits:", hashlib.sha256(weights_of("one").tobytes()).hexdigest())
"""


def fill_a_small_disk(folder: Path) -> str:
    """The folder of runs on a disk of 1 MB that grows: each time the same line, at last it is large enough."""
    disk, images = folder / "disk", folder / "few"
    disk.mkdir()
    images.mkdir()
    demo.draw_demo(images, seed=3, counts=COUNTS)
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)]
    if not shutil.which("mount") or os.geteuid() or subprocess.run(mount, capture_output=True).returncode:
        return "a small disk: skipped, mounting needs root"
    said = []
    try:
        for size in (1, 3, 5, 8, 12, 20, 50):
            subprocess.run(["mount", "-o", f"remount,size={size}m", str(disk)], check=True)
            said.append(train_on(disk, images))
            if said[-1].startswith("bits:"):
                break
    finally:
        subprocess.run(["umount", "--lazy", str(disk)], check=True)
    wrong = [
        line for line in said[:-1] if not re.fullmatch("refused: Cannot write .*: No space left on device; .*", line)
    ]
    if said[-1] != train_on(folder / "undisturbed", images):
        wrong.append(f"other bits than undisturbed: {said[-1]}")
    return verdict(f"a small disk: full {len(said) - 1} times, then the same bits as undisturbed", wrong, len(said) > 2)


def train_on(place: Path, images: Path) -> str:
    environment = os.environ | {"PNLIB_RUNS": str(place), "PNLIB_CACHE": str(images.with_name("cache"))}
    done = subprocess.run(
        [sys.executable, "-c", CHILD + TRAINING, str(images)], capture_output=True, text=True, env=environment
    )
    return (done.stdout.strip().splitlines() or [done.stderr[-300:]])[-1]


# --- interrupted in a kernel, and odd surroundings

UNDISTURBED = (
    CHILD
    + """
import numpy as np, trainings, pnlib
config = pnlib.TrainConfig(**trainings.SETTINGS | {{"epochs": 20}})
rows, images = pnlib.training_data(pnlib.find_dataset({folder!r}), config)
pnlib.train(config, rows, images, run="undisturbed")
"""
)


def interrupt_a_cell(folder: Path) -> str:
    """JupyterLab's square button, then the cell again: the kernel lives on, and its half-trained network with it."""
    from jupyter_client.manager import start_new_kernel

    environment = os.environ | ONE_THREAD | {"PNLIB_RUNS": str(folder / "cells"), "PNLIB_CACHE": str(folder / "cache")}
    manager, client = start_new_kernel(kernel_name="python3", env=environment, stderr=subprocess.DEVNULL)
    printed, wrong, interrupting = [], [], False

    def hook(message: dict) -> None:
        content = message["content"]
        printed.append(content.get("text") or content.get("ename") or "")
        if interrupting and "epoch   2/20" in printed[-1]:
            manager.interrupt_kernel()

    def execute(code: str, expected: str, words: str) -> None:
        printed.clear()
        reply = client.execute_interactive(code, timeout=300, output_hook=hook)["content"]
        if reply.get("ename", "ok") != expected or not re.search(words, "".join(printed)):
            wrong.append(f"{code[-60:]!r} gave {reply.get('ename', 'ok')}, {''.join(printed)[-300:]!r}")

    try:
        execute(UNDISTURBED.format(folder=str(folder / "few")), "ok", "epoch  20/20")
        interrupting = True
        execute("pnlib.train(config, rows, images, run='one')", "KeyboardInterrupt", r"\A(?!(?s:.*)epoch  20/20)")
        interrupting = False
        execute("pnlib.train(config, rows, images, run='one')", "ok", "Going on after epoch 1?[0-9] of 20")
        execute("print(np.array_equal(*map(trainings.weights_of, ('undisturbed', 'one'))))", "ok", "True\n")
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
    return verdict("a cell interrupted in its kernel and run again: the same bits as undisturbed", wrong, True)


def train_in_odd_surroundings(folder: Path) -> str:
    """A path with blanks, umlauts, braces and 200 characters, no home folder, umask 077, another hash seed, decimal commas,
    a terminal that knows ASCII only: 04_train ends with the same bits as without, and its files are for their owner alone."""
    long = folder / ("Röntgen, {Übung} " + "x" * 183)
    for place in (folder / "usual", long):
        shutil.copytree(TESTS.parent / "notebooks", place / "notebooks")
        (place / "pyproject.toml").write_text('[project]\nname = "pnlib"\n')
        shutil.copytree(folder / "few", place / "Bilder")
    locale = ["localedef", "-i", "de_DE", "-f", "UTF-8", str(folder / "de_DE.UTF-8")]
    comma = shutil.which("localedef") and not subprocess.run(locale, capture_output=True).returncode
    odd = {"PYTHONHASHSEED": "2", "PYTHONIOENCODING": "ascii", "TMPDIR": str(long),
           **({"LOCPATH": str(folder), "LC_ALL": "de_DE.UTF-8"} if comma else {"LC_ALL": "C"})}  # fmt: skip
    line = [sys.executable, "-m", "pnlib", "run", "--only", "04_train", "--name", "one"]
    for name, value in {"network": "compact", "epochs": 1, "sampling": "oversample", "validation": 0.25}.items():
        line += ["-p", name, str(value)]
    results = []
    for place, changed, mask in ((folder / "usual", {"PYTHONHASHSEED": "1"}, 0o022), (long, odd, 0o077)):
        environment = environment_of(place, str(place / "Bilder")) | ONE_THREAD | changed
        if place == long:
            environment.pop("HOME", None)
        done = subprocess.run(
            line, env=environment, cwd=place, umask=mask, capture_output=True, text=True, errors="replace"
        )
        if done.returncode:
            return verdict("odd surroundings", [done.stderr[-500:]], False)
        results.append(result_of(place / "runs" / "one" / "train"))
    wrong = [] if results[0] == results[1] else ["other weights, history or files than in usual ones"]
    written = [file for name in ("runs", "cache") for file in (long / name).rglob("*") if file.is_file()]
    wrong += [f"{file.name} is open to others" for file in written if file.stat().st_mode & 0o077]
    return verdict(
        "odd surroundings: the same bits as in usual ones, files for their owner alone", wrong, len(written) > 8
    )


# --- many examples


def fuzz(seed: int) -> str:
    """The fuzz tests with the long profile; Hypothesis's statistics say how many examples there were."""
    started = time.perf_counter()
    line = [sys.executable, "-m", "pytest", "-q", "--tb=line", "--hypothesis-profile=long", f"--hypothesis-seed={seed}",
            "--hypothesis-show-statistics", *map(str, sorted((TESTS / "core").glob("test_fuzz*.py")))]  # fmt: skip
    done = subprocess.run(line, cwd=TESTS.parent, capture_output=True, text=True)
    examples = sum(map(int, re.findall(r"(\d+) passing, ", done.stdout)))
    passed = re.search(r"(\d+) passed", done.stdout)
    wrong = re.findall(r"^(?:FAILED|ERROR) .*$", done.stdout, re.M) or ([done.stderr[-300:]] if done.returncode else [])
    minutes = (time.perf_counter() - started) / 60
    words = f"fuzzing: {examples:,} examples in {passed[1] if passed else 0} tests, {minutes:.0f} minutes"
    return verdict(words, wrong, examples > 10_000)


# --- the report


def verdict(words: str, wrong: list[str], enough: bool) -> str:
    line = words if enough and not wrong else f"FAILED: {words}; {'; '.join(wrong) or 'too few'}"
    print(line, flush=True)
    return line


def report(
    seed: int, campaign: Campaign, kills: collections.Counter, problems: list, others: list, seconds: float, write: bool
) -> None:
    number = sum(n for (stage, _), n in kills.items() if stage != "missed")
    lines = [
        "# Torture: the long campaign of faults",
        "",
        "`make torture` (tests/project/torture.py, which says what it does) kills a running `pnlib run --only 04_train` with SIGKILL, runs the",
        "same line again, and compares the last weights with those of an undisturbed run.",
        f"Last run: {time.strftime('%Y-%m-%d')}, seed {seed}, {seconds / 60:.0f} minutes, {machine.processor()}, {os.cpu_count()} cores.",
        "",
        "Rows: what the training was doing. Columns: which process was killed, papermill's, the notebook's kernel, or both.",
        "",
        "| killed while | " + " | ".join(VICTIMS) + " |",
        "| --- |" + " ---: |" * len(VICTIMS),
        *(f"| {stage} | " + " | ".join(str(kills[stage, v]) for v in VICTIMS) + " |" for stage in campaign.stages),
        "",
        f"{number} kills in {campaign.chains} trainings of {campaign.epochs} epochs (baseline network, batches of {BATCH}): "
        + ("weights bit-identical to the undisturbed run's, no damaged file after any kill, no kernel left." if not problems
           else "**no pass:** " + "; ".join(problems)),
        f"({sum(n for (stage, _), n in kills.items() if stage == 'missed')} more hit after the stage that they aimed at had passed; "
        "they are not counted above.)",
        "",
        *(f"- {line}" for line in others),
    ]  # fmt: skip
    text = "\n".join(lines) + "\n"
    print(text)
    if write:
        (TESTS.parent / "docs" / "torture.md").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
