"""Every public name is described, and every example in the library's text runs."""

import doctest
import importlib
import pkgutil

import pytest

import pnlib


def examples() -> dict[str, doctest.DocTest]:
    """{name: doctest} of all modules of the package."""
    names = ["pnlib", *(module.name for module in pkgutil.walk_packages(pnlib.__path__, "pnlib."))]
    found = {}
    for name in names:
        if name != "pnlib.__main__":
            for test in doctest.DocTestFinder(exclude_empty=True).find(importlib.import_module(name)):
                if test.examples:
                    found[test.name] = test
    return found


EXAMPLES = examples()


@pytest.fixture(scope="module", autouse=True)
def decoded(tmp_path_factory):
    """One cache of decoded images for all examples."""
    return tmp_path_factory.mktemp("decoded")


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_runs_and_says_what_it_prints(name, decoded, workspace, monkeypatch):
    monkeypatch.setenv("PNLIB_CACHE", str(decoded))
    monkeypatch.chdir(workspace)
    printed: list[str] = []
    runner = doctest.DocTestRunner()
    failed, tried = runner.run(EXAMPLES[name], out=printed.append)
    assert tried and not failed, "".join(printed)


@pytest.mark.parametrize("name", pnlib.__all__)
def test_a_public_name_is_described(name):
    text = getattr(pnlib, name).__doc__
    assert text and len(text.split()) > 4
