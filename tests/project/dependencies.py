"""What the project depends on: writes docs/dependencies.md and requirements.lock, from pyproject.toml and what is installed here.

    python tests/project/dependencies.py    # after a change of pyproject.toml; needs uv (pip install uv)

The lock pins every package, direct or not, to the version installed here (where it is), with the hashes of its files, for
Python 3.11.5 or newer on any system: pip install --require-hashes -r requirements.lock && pip install --no-deps --editable .
"""

import importlib.metadata
import re
import subprocess
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parents[2]
TABLE, LOCK = HERE / "docs" / "dependencies.md", HERE / "requirements.lock"


def declared() -> list[tuple[str, str, str]]:
    """(name, bound, what it is for) of each dependency of pyproject.toml, in its order."""
    text = (HERE / "pyproject.toml").read_text(encoding="utf-8")
    return re.findall(r'^    "([a-z0-9-]+)(>=[\d.]+)", +# (.+)$', text, re.MULTILINE)


def licence(name: str) -> str:
    """As the installed package's metadata say, or else the first line of its licence file."""
    about = importlib.metadata.metadata(name)
    short = [text for key in ("License-Expression", "License") if (text := about.get(key)) and "\n" not in text]
    classifiers = [c.split(" :: ")[-1] for c in about.get_all("Classifier") or [] if c.startswith("License :: OSI")]
    files = [f.read_text().splitlines()[0] for f in importlib.metadata.files(name) or [] if f.name == "LICENSE"]
    return [text for text in (*short, *classifiers, *files) if text != "UNKNOWN"][0]


def version(name: str) -> str:
    return importlib.metadata.version(name)


def table() -> str:
    lines = [
        "# Dependencies and their licences",
        "",
        "Written by `python tests/project/dependencies.py` from `pyproject.toml` and the metadata of the installed packages.",
        "The packages that these need in turn are pinned, with hashes, in `requirements.lock`.",
        "",
        "| package | licence | what it is for |",
        "| --- | --- | --- |",
        *(f"| {name} {bound} | {licence(name)} | {purpose} |" for name, bound, purpose in declared()),
    ]
    return "\n".join(lines) + "\n"


def lock() -> str:
    installed = {
        d.metadata["Name"]: d.version for d in importlib.metadata.distributions() if d.metadata["Name"] != "pnlib"
    }
    with tempfile.TemporaryDirectory() as folder:
        constraints = Path(folder) / "installed.txt"
        constraints.write_text("".join(f"{name}=={version}\n" for name, version in installed.items()))
        line = [
            "uv",
            "pip",
            "compile",
            "pyproject.toml",
            "--universal",
            "--python-version",
            "3.11.5",
            "--generate-hashes",
        ]
        line += [
            "--constraints",
            str(constraints),
            "--no-header",
            "--no-annotate",
            "--no-emit-index-url",
            "--all-extras",
            "--quiet",
        ]
        return subprocess.run(line, cwd=HERE, check=True, stdout=subprocess.PIPE, text=True).stdout


if __name__ == "__main__":
    TABLE.write_text(table(), encoding="utf-8")
    LOCK.write_text(lock(), encoding="utf-8")
