"""Values that survive a file that is read without running code."""

from __future__ import annotations

import io
from collections import Counter, OrderedDict, defaultdict, deque, namedtuple

import numpy as np
import pytest
import torch
from torch import nn

from trainables.plain import NotPlainError, from_plain, to_plain


def through_a_file(value):
    file = io.BytesIO()
    torch.save(to_plain(value), file)
    file.seek(0)
    return from_plain(torch.load(file, weights_only=True))


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        7,
        -(2**80),
        0.1,
        float("inf"),
        "ö",
        b"\x00\xff",
        b"",
        [1, [2.5, (3, "a")]],
        (),
        {"a": {1: "b", (2, 3): None}},
        {"__kind__": "array", "items": 3},
        {1, 2},
        frozenset({4, (1, 2)}),
        {frozenset({1}): 2},
        OrderedDict([("b", 1), ("a", [2])]),
    ],
    ids=repr,
)
def test_a_value_comes_back_equal_and_of_its_type(value):
    found = through_a_file(value)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    "array",
    [
        np.float64(0.1),
        np.float32(0.1),
        np.int64(-3),
        np.bool_(True),
        np.str_("abc"),
        np.datetime64("2020-01-02"),
        np.arange(6, dtype=">i2").reshape(2, 3),
        np.asfortranarray(np.random.default_rng(0).random((3, 2))),
        np.zeros((0, 4), dtype="complex64"),
        np.array("scalar"),
    ],
    ids=repr,
)
def test_numpy_comes_back_to_the_bit(array):
    found = through_a_file(array)
    assert type(found) is type(array)
    assert found.dtype == array.dtype
    np.testing.assert_array_equal(found, array)


def test_an_array_that_came_back_can_be_written_to():
    found = through_a_file(np.zeros(2))
    found += 1
    assert found.tolist() == [1, 1]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.int64, torch.bool, torch.uint8])
def test_tensors_come_back_to_the_bit(dtype):
    tensor = torch.arange(6).reshape(2, 3).to(dtype)
    found = through_a_file({"a": [tensor, tensor.t()]})["a"]
    assert found[0].dtype == dtype
    assert torch.equal(found[0], tensor)
    assert torch.equal(found[1], tensor.t())


def test_a_description_is_a_copy():
    tensor, array, parts = torch.zeros(2), np.zeros(2), [1]
    described = to_plain([tensor, array, parts])
    tensor += 1
    array += 1
    parts.append(2)
    found = from_plain(described)
    assert found[0].tolist() == found[1].tolist() == [0, 0]
    assert found[2] == [1]


def test_a_state_dict_keeps_the_versions_of_its_layers():
    module = nn.Sequential(nn.BatchNorm1d(2))
    found = through_a_file(module.state_dict())
    assert found._metadata == module.state_dict()._metadata
    assert found._metadata["0"] == {"version": 2}


Point = namedtuple("Point", "x y")
RECORD = np.zeros(1, dtype=[("a", "i4")])


@pytest.mark.parametrize(
    "value",
    [
        object(),
        len,
        Point(1, 2),
        Counter("a"),
        defaultdict(int),
        deque(),
        np.array([object()]),
        RECORD,
        RECORD[0],
        np.ma.masked_array([1, 2], [True, False]),
        nn.Parameter(torch.zeros(1)),
        1j,
    ],
    ids=lambda value: type(value).__name__,
)
@pytest.mark.parametrize("nest", [lambda value: value, lambda value: {"a": [value]}], ids=["bare", "nested"])
def test_what_would_not_come_back_as_it_was_is_refused(value, nest):
    with pytest.raises(NotPlainError, match="cannot be stored"):
        to_plain(nest(value))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_tensor_goes_back_to_the_gpu():
    assert through_a_file(torch.ones(1, device="cuda")).device.type == "cuda"
