"""Imports point down only, and importing pnlib is cheap."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import pnlib

PACKAGE = Path(pnlib.__file__).parent
HEAVY = (
    "tensorflow",
    "keras",
    "matplotlib",
    "pandas",
    "sklearn",
    "scipy",
    "cv2",
    "papermill",
    "distributed",
    "IPython",
)
LAYERS = {"base": 0, "core": 1, "review": 2, "studies": 2, "runner": 3}  # each may import from itself and from below


def modules() -> dict[str, Path]:
    """{dotted name: file} of the whole package."""
    named = {}
    for file in PACKAGE.rglob("*.py"):
        parts = ("pnlib", *file.relative_to(PACKAGE).with_suffix("").parts)
        named[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = file
    return named


MODULES = modules()


def layer(module: str) -> str:
    part = module.split(".")[1] if "." in module else "core"
    return part if part in LAYERS else "core"


def type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")


def imported(module: str, inside: bool) -> set[str]:
    """Modules of pnlib that a module imports when it is imported, or also `inside` its functions."""
    found: set[str] = set()
    todo: list[ast.AST] = [ast.parse(MODULES[module].read_text())]
    while todo:
        node = todo.pop()
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0 and node.module, f"{module} imports relatively"
            for alias in node.names:
                within = f"{node.module}.{alias.name}"
                found.add(within if within in MODULES else node.module)
        elif not type_checking(node) and (inside or not isinstance(node, ast.FunctionDef | ast.Lambda)):
            todo += ast.iter_child_nodes(node)
    return {name for name in found if name in MODULES and name != module}


def test_there_is_something_to_look_at():
    assert {"pnlib", "pnlib.training", "pnlib.base.files", "pnlib.review", "pnlib.studies.grid", "pnlib.runner.cli"} <= set(MODULES)  # fmt: skip
    assert "pnlib.classifier" in imported("pnlib.training", inside=False)
    assert "pnlib.classifier" not in imported("pnlib.stress", inside=True), "it is for the type checker alone"


@pytest.mark.parametrize("module", sorted(set(MODULES) - {"pnlib.__main__"}))
def test_a_module_imports_from_its_own_layer_and_from_below(module):
    for name in imported(module, inside=True):
        if layer(module) == "base":
            assert layer(name) == "base", f"{module} imports {name}"
        assert LAYERS[layer(name)] <= LAYERS[layer(module)], f"{module} imports {name}"
        assert name != "pnlib.runner.cli", f"{module} imports the command line"
        sideways = LAYERS[layer(name)] == LAYERS[layer(module)] and layer(name) != layer(module)
        assert not sideways, f"{module} imports {name}"


def test_no_modules_import_each_other():
    """Also not around a circle. A package's modules come with the package itself, which they don't import."""
    graph = {module: imported(module, inside=False) for module in MODULES}
    done: list[str] = []

    def visit(module, path):
        assert module not in path, " imports ".join([*path[path.index(module) :], module])
        if module not in done:
            for name in sorted(graph[module]):
                visit(name, [*path, module])
            done.append(module)

    for module in sorted(graph):
        visit(module, [])
    assert sorted(done) == sorted(MODULES)


def test_importing_pnlib_starts_nothing():
    """In a process of its own: neither TensorFlow nor anything else that takes a second, until a name is used."""
    code = (
        "import sys, pnlib\n"
        f"heavy = {HEAVY!r}\n"
        "print([name for name in heavy if name in sys.modules], *sorted(set(pnlib.__all__) - set(dir(pnlib))))\n"
        "pnlib.TrainConfig(); pnlib.find_dataset; pnlib.metrics; pnlib.train; pnlib.load_run\n"
        "print([name for name in ('tensorflow', 'keras', 'matplotlib') if name in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["[]", "[]"] and not done.stderr


def test_another_name_is_no_attribute():
    with pytest.raises(AttributeError, match="module 'pnlib' has no attribute 'model'"):
        _ = pnlib.model
