"""Random number generators that go on elsewhere."""

from __future__ import annotations

import io
import random

import numpy as np
import pytest
import torch

from trainables import generators
from trainables.plain import NotPlainError, from_plain, to_plain


def through_a_file(generator):
    file = io.BytesIO()
    torch.save(to_plain({"held": [generator]}), file)
    file.seek(0)
    return from_plain(torch.load(file, weights_only=True))["held"][0]


SOURCES = [np.random.PCG64, np.random.PCG64DXSM, np.random.MT19937, np.random.Philox, np.random.SFC64]


@pytest.mark.parametrize("source", SOURCES)
def test_every_generator_of_numpy_goes_on_and_has_the_same_children(source):
    generator = np.random.Generator(source(7))
    generator.spawn(1)
    generator.integers(2**16, dtype=np.uint16)
    found = through_a_file(generator)
    assert found.integers(2**16, size=9, dtype=np.uint16).tolist() == (
        generator.integers(2**16, size=9, dtype=np.uint16).tolist()
    )
    assert found.normal() == generator.normal()
    assert found.spawn(1)[0].random() == generator.spawn(1)[0].random()


def test_a_generator_of_fresh_entropy_goes_on_too():
    generator = np.random.default_rng()
    assert through_a_file(generator).random() == generator.random()


@pytest.mark.parametrize("source", [7, np.random.PCG64(7)])
def test_numpys_older_generator_goes_on_with_half_a_pair(source):
    generator = np.random.RandomState(source)
    generator.standard_normal()
    found = through_a_file(generator)
    assert found.standard_normal(3).tolist() == generator.standard_normal(3).tolist()


def test_pythons_generator_goes_on_with_half_a_pair():
    generator = random.Random(7)
    generator.gauss()
    found = through_a_file(generator)
    assert [found.gauss(), found.gauss()] == [generator.gauss(), generator.gauss()]


def test_torchs_generator_goes_on():
    generator = torch.Generator().manual_seed(7)
    torch.randn(3, generator=generator)
    found = through_a_file(generator)
    assert torch.equal(torch.randn(9, generator=found), torch.randn(9, generator=generator))


def test_a_description_does_not_move_on_with_its_generator():
    generator = np.random.default_rng(7)
    described = to_plain(generator)
    assert from_plain(described).random() == generator.random() == from_plain(described).random()


class Seeds(np.random.bit_generator.ISeedSequence):
    def generate_state(self, n_words, dtype=np.uint32):
        return np.arange(n_words, dtype=dtype)


@pytest.mark.parametrize("value", [random.SystemRandom(), np.random.Generator(np.random.PCG64(Seeds())), 7, np.random])
def test_what_cannot_be_made_again_is_none(value):
    assert not generators.is_generator(value)
    if value != 7:
        with pytest.raises(NotPlainError):
            to_plain(value)
