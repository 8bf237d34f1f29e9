"""The architecture, held by reading the source: who may import whom, and what no module may contain."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
MAY_IMPORT = {
    "search_spaces": {"search_spaces"},
    "trainables": {"trainables"},
    "sweeps": {"search_spaces", "sweeps", "trainables"},
}
MAY_IMPORT_RAY = {
    "sweeps/attempt.py",
    "sweeps/ray_session.py",
    "sweeps/connection.py",
    "sweeps/execution.py",
    "sweeps/jobs.py",
    "sweeps/launch_config.py",
    "sweeps/node_report.py",
    "sweeps/nodes.py",
    "sweeps/schedulers.py",
    "sweeps/searchers.py",
    "sweeps/tuning.py",
    "trainables/net.py",
}
MAY_PRINT = {"sweeps/cli.py"}
FILES = {
    path.relative_to(ROOT).as_posix(): ast.parse(path.read_text(), str(path))
    for package in MAY_IMPORT
    for path in sorted((ROOT / package).rglob("*.py"))
}

every_file = pytest.mark.parametrize("name", FILES)


def imported_modules(name: str, nodes: Iterator[ast.AST]) -> Iterator[str]:
    """Absolute names of the imported modules, and of `from package import module` read as package.module too."""
    package = Path(name).parent.parts
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else ()
            module = ".".join((*above, *filter(None, [node.module])))
            yield module
            yield from (f"{module}.{alias.name}" for alias in node.names)


def is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING")


def run_nodes(tree: ast.AST) -> Iterator[ast.AST]:
    """Every node that runs when the module is imported: no function bodies, nothing for type checkers only."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)) or is_type_checking(node):
            continue
        yield node
        yield from run_nodes(node)


def violations(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Assert):
            yield f"line {node.lineno}: assert"
        elif isinstance(node, ast.Global):
            yield f"line {node.lineno}: global"
        elif isinstance(node, ast.ExceptHandler) and is_broad(node.type):
            yield f"line {node.lineno}: broad except"


def is_broad(caught: ast.expr | None) -> bool:
    names = caught.elts if isinstance(caught, ast.Tuple) else [caught]
    return any(name is None or ast.unparse(name) in ("Exception", "BaseException") for name in names)


def test_there_is_source_to_read():
    assert {name.split("/")[0] for name in FILES} == set(MAY_IMPORT)


@every_file
def test_imports_go_downwards_only(name):
    own = {module.split(".")[0] for module in imported_modules(name, ast.walk(FILES[name]))} & set(MAY_IMPORT)
    assert own <= MAY_IMPORT[name.split("/")[0]]


@every_file
def test_ray_stays_behind_its_border(name):
    modules = imported_modules(name, ast.walk(FILES[name]))
    assert any(module.split(".")[0] == "ray" for module in modules) == (name in MAY_IMPORT_RAY)


@every_file
def test_no_module_imports_the_face_of_its_own_package(name):
    package = ".".join(Path(name).parent.parts)
    faces = [
        node.lineno
        for node in ast.walk(FILES[name])
        if isinstance(node, ast.ImportFrom) and node.module == package and not node.level
        for alias in node.names
        if not is_module(f"{package}.{alias.name}")
    ]
    assert not faces, f"{name} imports from {package} itself in lines {faces}; import from the sibling module"


def is_module(dotted: str) -> bool:
    stem = dotted.replace(".", "/")
    return f"{stem}.py" in FILES or f"{stem}/__init__.py" in FILES


def test_no_import_circles():
    own = {name.removesuffix(".py").replace("/", "."): tree for name, tree in FILES.items()}
    graph = {
        module: {
            target
            for target in imported_modules(module.replace(".", "/") + ".py", run_nodes(tree))
            if target in own and target != module
        }
        for module, tree in own.items()
    }
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail("import circle: " + " <- ".join(error.args[1]))


@every_file
def test_every_module_says_what_it_is(name):
    assert ast.get_docstring(FILES[name])


@every_file
def test_no_module_asserts_or_swallows(name):
    assert not list(violations(FILES[name]))


@every_file
def test_only_the_command_line_prints(name):
    if name in MAY_PRINT:
        return
    calls = [node for node in ast.walk(FILES[name]) if isinstance(node, ast.Call)]
    assert not [call.lineno for call in calls if isinstance(call.func, ast.Name) and call.func.id == "print"]
