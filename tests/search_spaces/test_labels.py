"""Objects by name: which label they get, that labels are stable and unique, and that names are imported back."""

from __future__ import annotations

import enum
import functools

import numpy as np
import pytest
import torch
from torch import nn

from search_spaces import Choice, Constant, Float, SearchSpace, SpaceError
from search_spaces.labels import as_plain, import_object, is_import_string, label_of, same_value


class Local:
    pass


class Colour(enum.Enum):
    RED = "red"


@pytest.mark.parametrize(
    ("value", "label"),
    [
        (torch.optim.SGD, "torch.optim:SGD"),
        (nn.ReLU, "torch.nn:ReLU"),
        (nn.functional.relu, "torch.nn.functional:relu"),
        (functools.partial, "functools:partial"),
        (int, "builtins:int"),
        (Local, f"{__name__}:Local"),
        (nn.ReLU(), "ReLU()"),
        (nn.Sequential(nn.ReLU(), nn.ReLU()), "Sequential( (0): ReLU() (1): ReLU() )"),
    ],
)
def test_an_object_is_named_by_where_it_is_imported_from_or_by_its_repr(value, label):
    assert label_of(value) == label


def test_a_label_holds_no_memory_address_and_is_short():
    assert label_of(Local()) == f"<{__name__}.Local object>"
    assert "0x" not in label_of(lambda: None)
    assert len(label_of(nn.Sequential(*[nn.ReLU()] * 50))) == 60


def test_a_name_that_holds_another_object_is_not_used():
    shadow = type("SGD", (), {"__module__": "torch.optim.sgd"})
    assert label_of(shadow) != "torch.optim:SGD"
    assert not is_import_string(label_of(shadow))


def test_objects_that_look_alike_are_numbered():
    one, two = nn.ReLU(), nn.ReLU()
    choice = Choice((one, nn.Tanh(), two, "Tanh()"))
    assert choice.values == ("ReLU()", "Tanh() #2", "ReLU() #2", "Tanh()")
    assert choice.objects["ReLU()"] is one
    assert choice.objects["ReLU() #2"] is two


def test_the_same_object_twice_is_a_duplicate():
    relu = nn.ReLU()
    for values in [(relu, relu), (torch.optim.SGD, torch.optim.SGD), (torch.optim.SGD, "torch.optim:SGD")]:
        with pytest.raises(SpaceError, match="is listed 2 times"):
            Choice(values)


def test_a_list_with_an_object_in_it_is_an_object():
    callbacks = [Local()]
    constant = Constant(callbacks)
    assert isinstance(constant.value, str)
    assert constant.objects[constant.value] is callbacks


def test_objects_take_no_part_in_comparisons():
    assert Choice((nn.ReLU(),)) == Choice(("ReLU()",))


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (np.float64(0.5), 0.5),
        (np.bool_(True), True),
        (np.arange(3), [0, 1, 2]),
        ((1, (2, "a")), [1, [2, "a"]]),
        (range(2), [0, 1]),
        ({"a": np.int64(1)}, {"a": 1}),
        (None, None),
    ],
)
def test_what_json_can_hold_is_plain(value, plain):
    assert as_plain(value) == (True, plain)


@pytest.mark.parametrize("value", [float("nan"), Local, Colour.RED, {1: 2}, [1, {2}], b"bytes", 1j])
def test_what_json_cannot_hold_is_an_object(value):
    assert as_plain(value) == (False, value)


def test_a_boolean_equals_only_a_boolean():
    assert same_value(1, 1.0)
    assert not same_value(1, True)
    assert same_value(True, True)


@pytest.mark.parametrize("text", ["torch.optim:SGD", "a:b.c", "_m:_n"])
def test_import_strings_are_recognised(text):
    assert is_import_string(text)


@pytest.mark.parametrize("text", ["cuda:0", "torch.optim.SGD", "s3://bucket", "a: b", "a:b:c", 3, None])
def test_other_values_are_no_import_strings(text):
    assert not is_import_string(text)


def test_a_name_is_imported():
    assert import_object("torch.optim:SGD") is torch.optim.SGD
    assert import_object("torch:nn.Module.to") is nn.Module.to


@pytest.mark.parametrize(
    ("source", "line", "message"),
    [
        ("a = 1\nb = {}['x']\n", 2, "KeyError: 'x'"),
        ("\nimport not_installed_anywhere\n", 2, "ModuleNotFoundError: No module named 'not_installed_anywhere'"),
        ("import json\n\njson.loads('{')\n", 3, "JSONDecodeError: Expecting property name"),
        ("import sys\nsys.exit('no GPU')\n", 2, "SystemExit: no GPU"),
        ("\n\ndef f(:\n", 3, "SyntaxError: invalid syntax"),
    ],
)
def test_whatever_a_module_raises_is_a_problem_of_its_parameter_with_the_line(
    tmp_path, monkeypatch, source, line, message
):
    path = tmp_path / "broken_label.py"
    path.write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(SpaceError) as raised:
        SearchSpace({"optimizer": ["broken_label:SGD", "torch.optim:Adam"]}).objects()
    ((name, problem),) = raised.value.problems
    assert name == "optimizer"
    assert problem.startswith(f"'broken_label:SGD' cannot be imported: {message}")
    assert problem.endswith(f"({path}:{line})")


def test_interrupting_an_import_is_no_problem_of_a_parameter(tmp_path, monkeypatch):
    (tmp_path / "slow_label.py").write_text("raise KeyboardInterrupt\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        import_object("slow_label:SGD")


def test_objects_gives_what_is_behind_every_label():
    relu = nn.ReLU()
    space = SearchSpace(
        {
            "optimizer": ["torch.optim:SGD", torch.optim.Adam],
            "module__act": [relu, None],
            "criterion": "torch.nn:MSELoss",
            "device": "cpu",
            "lr": Float(0, 1),
        }
    )
    assert space.objects() == {
        "optimizer": {"torch.optim:SGD": torch.optim.SGD, "torch.optim:Adam": torch.optim.Adam},
        "module__act": {"ReLU()": relu},
        "criterion": {"torch.nn:MSELoss": nn.MSELoss},
    }


def test_every_name_that_cannot_be_imported_is_told():
    space = SearchSpace({"optimizer": ["torch.optim:SDG", "torch.optim:Adam"], "criterion": "no_such_package:Loss"})
    with pytest.raises(SpaceError) as raised:
        space.objects()
    (first, sgd), (second, loss) = raised.value.problems
    assert (first, second) == ("optimizer", "criterion")
    assert "'torch.optim:SDG'" in sgd
    assert "did you mean 'SGD'?" in sgd
    assert "No module named 'no_such_package'" in loss


def test_reading_a_name_imports_nothing():
    assert SearchSpace({"optimizer": ["no_such_package:A", "no_such_package:B"]}).size() == 2
