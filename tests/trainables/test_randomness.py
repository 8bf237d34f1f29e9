"""Random streams of a training beside those of the process."""

from __future__ import annotations

import random
from contextlib import suppress

import numpy as np
import pytest
import torch

from trainables.plain import from_plain, to_plain
from trainables.randomness import OwnRandomness


def draw():
    return torch.rand(1).item(), torch.randn(1).item(), float(np.random.rand()), np.random.randn(), random.gauss(0, 1)


def draw_own(own):
    with own.in_use():
        return draw()


def seed_all(seed):
    torch.manual_seed(seed)
    np.random.seed(seed)
    random.seed(seed)


@pytest.mark.parametrize("seed", [0, 12345, 2**32 - 1])
def test_the_streams_begin_as_the_libraries_begin_them(seed):
    own = OwnRandomness(seed)
    seed_all(seed)
    assert [draw_own(own), draw_own(own)] == [draw(), draw()]


def test_the_streams_of_the_process_go_on_as_if_nothing_had_happened():
    seed_all(1)
    expected = [draw(), draw()]
    seed_all(1)
    first = draw()
    draw_own(OwnRandomness(5))
    assert [first, draw()] == expected


def test_two_trainings_do_not_disturb_each_other():
    alone = OwnRandomness(3)
    expected = [draw_own(alone), draw_own(alone)]
    one, other = OwnRandomness(3), OwnRandomness(4)
    first = draw_own(one)
    draw_own(other)
    assert [first, draw_own(one)] == expected


def test_an_error_inside_puts_the_streams_back():
    seed_all(1)
    expected = draw()
    seed_all(1)
    own = OwnRandomness(5)
    with suppress(ArithmeticError), own.in_use():
        torch.rand(3)
        raise ArithmeticError
    assert draw() == expected


def test_a_loaded_state_goes_on_where_it_was():
    own = OwnRandomness(3)
    draw_own(own)
    state = to_plain(own.state())
    expected = draw_own(own)
    other = OwnRandomness(8)
    other.load_state(from_plain(state))
    assert draw_own(other) == expected


def test_a_state_of_a_gpu_is_of_no_use_without_one():
    own = OwnRandomness(3)
    own.load_state(own.state() | {"cuda": torch.zeros(16, dtype=torch.uint8)})
    assert "cuda" not in own.state()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_the_stream_of_a_gpu_is_owned_by_a_training_on_it():
    def draw_there():
        return torch.rand(1, device="cuda").item()

    own, other = OwnRandomness(3, "cuda"), OwnRandomness(3, "cuda")
    outside = torch.cuda.get_rng_state()
    with own.in_use():
        first = [draw_there(), draw_there()]
    with other.in_use():
        assert first[0] == draw_there()
    other.load_state(other.state())
    with other.in_use():
        assert first[1] == draw_there()
    assert torch.equal(torch.cuda.get_rng_state(), outside)
