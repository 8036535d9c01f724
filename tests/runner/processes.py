"""Commands as processes of their own: forked from one that has imported papermill already, which takes seconds."""

import contextlib
import hashlib
import multiprocessing
import os
import signal
import sys
import time
from pathlib import Path

# `spawn` and a subprocess would import all that in each command
_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(["pnlib.runner.cli", "papermill.cli", "nbconvert", "pnlib.datasets.find"])


class Command:
    """A process that runs `pnlib ARGUMENTS` (or this code, with ARGUMENTS as sys.argv[1:]); its output goes to files.

    Args:
        folder: where the files `stdout` and `stderr` go; its current folder is the caller's.
        prepare: code to execute before, in that process.
        terminal: this terminal is its stdin, stdout and stderr instead.
    """

    def __init__(
        self, folder: Path, *arguments: str, code: str = "", prepare: str = "", terminal: str = "", environment=None
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._outputs = [folder / "stdout", folder / "stderr"]
        surroundings = [environment or dict(os.environ), os.getcwd(), terminal, prepare]
        target = (list(map(str, arguments)), code, self._outputs, surroundings)
        self.process = _context.Process(target=_become, args=target, daemon=True)
        self.process.start()

    @property
    def stdout(self) -> str:
        return self._read(0)

    @property
    def stderr(self) -> str:
        return self._read(1)

    def _read(self, number: int) -> str:
        place = self._outputs[number]
        return place.read_text(errors="replace") if place.exists() else ""

    def send(self, name: str) -> None:
        os.kill(self.process.pid, getattr(signal, name))

    def wait(self, seconds: float = 60) -> int:
        """Its exit status."""
        self.process.join(seconds)
        assert self.process.exitcode is not None, f"it still runs after {seconds} seconds: {self.stderr}"
        return self.process.exitcode

    def __enter__(self) -> "Command":
        return self

    def __exit__(self, *error: object) -> None:
        self.process.kill()
        self.process.join()


def _become(arguments: list[str], code: str, outputs: list[Path], surroundings: list) -> None:
    environment, folder, terminal, prepare = surroundings
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # where the tests run in the background, these are ignored
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    if terminal:
        _take(terminal)
    for number, place in enumerate([] if terminal else outputs, 1):
        os.dup2(os.open(place, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
    encoding = environment.get("PYTHONIOENCODING", "utf-8")
    sys.stdin, sys.stdout, sys.stderr = (
        os.fdopen(n, mode, encoding=encoding, closefd=False) for n, mode in enumerate("rww")
    )
    exec(prepare, {})
    sys.argv = ["pnlib", *arguments]
    exec(code or "import sys\nfrom pnlib.runner import cli\nsys.exit(cli.main())", {"__name__": "__main__"})


def _take(terminal: str) -> None:
    """Become the process that this terminal belongs to."""
    import fcntl
    import termios

    os.setsid()
    handle = os.open(terminal, os.O_RDWR)
    fcntl.ioctl(handle, termios.TIOCSCTTY, 0)
    for number in range(3):
        os.dup2(handle, number)


def wait_for(condition, words: str, seconds: float = 90):
    """What the condition gives, once it gives something true."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, words
        time.sleep(0.02)
    return found


def tree(folder: Path) -> dict:
    """Every file below a folder with the hash of its content; locks are empty and left out."""
    return {
        str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in sorted(folder.rglob("*"))
        if file.is_file() and file.name not in (".training", ".executing")
    }


@contextlib.contextmanager
def waiting_kernel(workspace: Path, *arguments: str, **options):
    """A command whose notebook printed its process and then waits; and that kernel, which must not outlive the command."""
    import psutil

    number = workspace / "kernel"
    number.unlink(missing_ok=True)
    with Command(workspace / "command", *arguments, **options) as command:
        wait_for(
            lambda: (number.exists() and number.read_text()) or command.process.exitcode is not None,
            "no kernel started",
        )
        assert command.process.exitcode is None, command.stderr
        kernel = psutil.Process(int(number.read_text()))
        yield command, kernel
        wait_for(
            lambda: not kernel.is_running() or kernel.status() == psutil.STATUS_ZOMBIE, "the kernel is an orphan", 30
        )
