"""`module:attribute` is imported from the user's folders, and every way in which that fails says where."""

from __future__ import annotations

import sys

import pytest

from sweeps.errors import SpecError
from sweeps.imports import resolve_import


@pytest.fixture(autouse=True)
def as_it_was(monkeypatch):
    monkeypatch.setattr(sys, "path", [*sys.path])
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        del sys.modules[name]


def problem_of(reference, *folders):
    with pytest.raises(SpecError) as caught:
        resolve_import(reference, folders)
    (problem,) = caught.value.problems
    return problem


def test_modules_beside_the_spec_are_found_with_their_neighbours(tmp_path):
    (tmp_path / "user_neighbour.py").write_text("VALUE = 7\n")
    (tmp_path / "user_net.py").write_text(
        "class Nets:\n    def make():\n        import user_neighbour as n; return n.VALUE\n"
    )
    assert resolve_import("user_net:Nets.make", [tmp_path])() == 7


def test_packages_and_installed_modules_are_found(tmp_path):
    (tmp_path / "user_package").mkdir()
    (tmp_path / "user_package" / "model.py").write_text("net = 3\n")
    assert resolve_import("user_package.model:net", [tmp_path]) == 3
    assert resolve_import("math:pi") == pytest.approx(3.14159, abs=1e-5)


def test_folders_are_put_in_front_once(tmp_path):
    (tmp_path / "user_one.py").write_text("a = 1\n")
    resolve_import("user_one:a", [tmp_path])
    resolve_import("user_one:a", [tmp_path, tmp_path])
    assert sys.path[0] == str(tmp_path.resolve())
    assert sys.path.count(str(tmp_path.resolve())) == 1


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("user_modle:net", "no module user_modle; did you mean user_model?"),
        ("user_pkg.modle:net", "no module user_pkg.modle; did you mean user_pkg.model?"),
        ("user_model.deeper:net", "no module user_model.deeper; looked in "),
        ("zzqqxx:net", "no module zzqqxx; looked in "),
        ("user_model", "not of the form module:attribute"),
    ],
)
def test_a_missing_module_suggests_its_neighbours(tmp_path, reference, message):
    (tmp_path / "user_model.py").write_text("make_net = 1\n")
    (tmp_path / "user_pkg").mkdir()
    (tmp_path / "user_pkg" / "model.py").touch()
    problem = problem_of(reference, tmp_path)
    assert problem.where == reference
    assert problem.message.startswith(message)


def test_a_missing_attribute_suggests_what_the_module_has(tmp_path):
    (tmp_path / "user_attr.py").write_text("make_net = 1\n")
    assert problem_of("user_attr:make_nett", tmp_path).message.endswith("has no make_nett; did you mean make_net?")


@pytest.mark.parametrize(
    ("source", "line", "message"),
    [
        ("a = 1\nb = 1 / 0\n", 2, "raised ZeroDivisionError: division by zero"),
        ("import sys\n\nsys.exit('no GPU')\n", 3, "raised SystemExit: no GPU"),
        ("import not_installed_anywhere\n", 1, "raised ModuleNotFoundError: No module named 'not_installed_anywhere'"),
        ("def f(:\n", 1, "raised SyntaxError"),
    ],
)
def test_what_the_module_raises_is_told_with_its_line(tmp_path, source, line, message):
    path = tmp_path / "user_broken.py"
    path.write_text(source)
    problem = problem_of("user_broken:net", tmp_path)
    assert message in problem.message
    assert problem.message.endswith(f"({path}:{line})")


def test_interrupting_an_import_is_no_problem_of_the_spec(tmp_path):
    (tmp_path / "user_slow.py").write_text("raise KeyboardInterrupt\n")
    with pytest.raises(KeyboardInterrupt):
        resolve_import("user_slow:net", [tmp_path])


def test_another_module_of_the_same_name_is_not_taken_in_silence(tmp_path):
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "user_same.py").write_text(f"name = {folder!r}\n")
    assert resolve_import("user_same:name", [tmp_path / "one"]) == "one"
    assert "loaded already under the same name" in problem_of("user_same:name", tmp_path / "two").message
