"""The wheel takes the course along, as pnlib/course/. Everything else about the package is in pyproject.toml."""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py


class BuildWithCourse(build_py):
    def run(self) -> None:
        super().run()
        if self.editable_mode:  # finds the course in the clone
            return
        for part in ("docs", "models", "nb_images", "notebooks", "studies"):  # pnlib.base.paths.COURSE
            target = Path(self.build_lib) / "pnlib" / "course" / part
            shutil.copytree(part, target, dirs_exist_ok=True, ignore=shutil.ignore_patterns(".*"))


setup(cmdclass={"build_py": BuildWithCourse})
