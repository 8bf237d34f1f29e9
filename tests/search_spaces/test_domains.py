"""Constants, choices and ranges: what they draw, what they contain, and that they read back as they were written."""

from __future__ import annotations

import json
import math
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from search_spaces import Choice, Constant, Float, Integer, SpaceError, as_domain

shares = st.floats(0, 1, exclude_max=True)
finite = st.floats(allow_nan=False, allow_infinity=False)
positive = st.floats(1e-300, 1e300)
scalars = st.none() | st.booleans() | st.integers() | finite | st.text()
steps = st.sampled_from([None, 1, 2, 3, 7, 64])


@st.composite
def floats(draw):
    log = draw(st.booleans())
    low, high = sorted([draw(positive if log else finite), draw(positive if log else finite)])
    return Float(low, high, log)


@st.composite
def stepped_floats(draw):
    q = draw(st.sampled_from([0.1, 0.3, 0.25, 1e-3, 2.0, 1 / 3]))
    log = draw(st.booleans())
    first = draw(st.integers(1 if log else -1000, 1000))
    return Float(first * q, (first + draw(st.integers(0, 2000))) * q, log, q)


@st.composite
def integers(draw):
    log, q = draw(st.booleans()), draw(steps)
    low = draw(st.integers(1, 2**40) if log else st.integers(-(2**40), 2**40))
    return Integer(low, low + (q or 1) + draw(st.integers(0, 2**40)), log, q)


choices = st.lists(scalars, min_size=1, unique_by=json.dumps).map(lambda values: Choice(tuple(values)))
domains = floats() | stepped_floats() | integers() | choices | scalars.map(Constant)


@given(domains, shares)
def test_a_domain_contains_what_it_draws(domain, share):
    assert domain.contains(domain.at(share))


@given(domains)
def test_a_domain_reads_back_from_json_as_it_was(domain):
    again = as_domain(json.loads(json.dumps(domain.plain(), allow_nan=False)))
    assert again == domain
    assert type(again) is type(domain)


@given(domains)
def test_a_domain_survives_pickling(domain):
    assert pickle.loads(pickle.dumps(domain)) == domain


@given(domains, shares)
def test_draws_are_plain_python(domain, share):
    assert type(domain.at(share)) in (bool, int, float, str, type(None))


@given(stepped_floats() | floats(), shares)
def test_floats_stay_within_their_bounds(domain, share):
    assert domain.low <= domain.at(share) <= domain.high


@given(stepped_floats(), shares)
def test_stepped_floats_are_multiples(domain, share):
    steps = domain.at(share) / domain.q
    assert math.isclose(steps, round(steps))


@given(integers(), shares)
def test_integers_are_multiples_within_inclusive_bounds(domain, share):
    value = domain.at(share)
    assert domain.low <= value <= domain.high
    assert value % (domain.q or 1) == 0


@given(integers() | stepped_floats())
def test_the_ends_of_a_stepped_range_are_drawn_at_the_ends_of_the_shares(domain):
    assert domain.at(0.0) - domain.low < (domain.q or 1)
    assert domain.high - domain.at(math.nextafter(1, 0)) < (domain.q or 1)


def test_a_multiple_has_the_digits_of_its_step():
    assert Float(0, 1, q=0.1).axis() == [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0]


def test_both_bounds_of_an_integer_are_drawn(rng):
    assert {Integer(1, 4).sample(rng) for _ in range(200)} == {1, 2, 3, 4}


def test_integers_are_equally_likely(rng):
    counts = np.bincount([Integer(0, 3).sample(rng) for _ in range(8000)])
    assert abs(counts - 2000).max() < 200


def test_the_ends_of_a_stepped_float_are_as_likely_as_its_middle(rng):
    draws = [Float(0, 1, q=0.5).sample(rng) for _ in range(6000)]
    assert all(abs(draws.count(value) - 2000) < 200 for value in (0.0, 0.5, 1.0))


def test_a_log_scale_gives_each_factor_of_ten_the_same_share(rng):
    draws = np.log10([Float(1e-4, 1e-1, log=True).sample(rng) for _ in range(6000)])
    counts, _ = np.histogram(draws, bins=[-4, -3, -2, -1])
    assert abs(counts - 2000).max() < 200


def test_integers_on_a_log_scale_are_about_as_likely_as_one_over_their_value(rng):
    counts = np.bincount([Integer(1, 100, log=True).sample(rng) for _ in range(20000)])
    assert counts[10] / counts[20] == pytest.approx(2, rel=0.3)
    assert counts[1:11].sum() == pytest.approx(counts[11:101].sum() * math.log(21) / math.log(201 / 21), rel=0.1)


def test_every_draw_takes_one_number_from_the_stream():
    streams = [np.random.default_rng(0) for _ in range(3)]
    Constant(1).sample(streams[0])
    Integer(1, 9).sample(streams[1])
    streams[2].random()
    assert len({stream.random() for stream in streams}) == 1


@pytest.mark.parametrize(
    ("domain", "outside"),
    [
        (Float(0, 1), [-0.1, 1.1, math.nan, math.inf, True, "0.5", None]),
        (Float(0, 1, q=0.25), [0.3, 1.25]),
        (Integer(1, 4), [0, 5, 2.0, 2.5, True, "2"]),
        (Integer(0, 8, q=4), [2, 12]),
        (Choice((1, "a", None)), [2, True, "b", [1]]),
        (Choice((True, False)), [1, 0]),
        (Constant([1, 2]), [[1], 1, None]),
    ],
)
def test_a_domain_does_not_contain_what_it_cannot_draw(domain, outside):
    assert not [value for value in outside if domain.contains(value)]


def test_a_choice_of_a_number_contains_it_as_a_float_too():
    assert Choice((1, 2)).contains(1.0)


def test_numpy_values_become_plain():
    choice = Choice((np.float32(0.5), np.int64(3), np.str_("a"), np.array([1, 2])))
    assert [type(value) for value in choice.values] == [float, int, str, list]
    assert type(Integer(np.int64(1), np.int32(4)).high) is int
    assert type(Float(np.float32(0.5), np.int64(4)).high) is float


def test_a_drawn_list_may_be_changed():
    choice = Choice(([64, 32],))
    choice.at(0.0).append(16)
    assert choice.at(0.0) == [64, 32]
    constant = Constant([1])
    constant.at(0.0).append(2)
    assert constant.value == [1]


@pytest.mark.parametrize(
    ("domain", "size"),
    [
        (Float(0, 1), None),
        (Float(1, 1), 1),
        (Float(0, 1, q=0.1), 11),
        (Integer(1, 4), 4),
        (Integer(1, 10**12, log=True), 10**12),
        (Integer(1, 20, q=8), 2),
        (Choice((1, 2, 3)), 3),
        (Constant(None), 1),
    ],
)
def test_the_size_counts_distinct_values(domain, size):
    assert domain.size == size
    if size and size < 100:
        assert len(domain.axis()) == size
        assert {domain.at(k / 1000) for k in range(1000)} == set(domain.axis())


@pytest.mark.parametrize(
    ("domain", "expected"),
    [
        (Choice((1,)), True),
        (Constant(1), True),
        (Integer(1, 1000), True),
        (Integer(16, 256, q=16), True),
        (Integer(1, 1001), False),
        (Integer(1, 4, log=True), False),
        (Float(0, 1, q=0.5), False),
    ],
)
def test_a_grid_walks_choices_and_small_whole_ranges_only(domain, expected):
    assert domain.is_grid_axis is expected


@pytest.mark.parametrize(
    ("make", "messages"),
    [
        (lambda: Float(2, 1), ["min 2 is greater than max 1"]),
        (lambda: Float(0, 1, log=True), ["greater than 0 on a log scale"]),
        (lambda: Float(None, "1"), ["min is missing", "max must be a number, not '1'"]),
        (lambda: Float(True, math.nan), ["min must be a number, not True", "max must be finite"]),
        (lambda: Float(-math.inf, 10**400), ["min must be finite", "max must be finite"]),
        (lambda: Float(3, 1, q=-1), ["min 3 is greater", "q must be greater than 0"]),
        (lambda: Float(0.1, 0.2, q=0.3), ["no multiple of q 0.3"]),
        (lambda: Float(0, 1e300, q=1), ["q 1 is too small"]),
        (lambda: Integer(1.5, 3), ["min must be a whole number"]),
        (lambda: Integer(0, 2**64), ["max must be a whole number that fits into 64 bits"]),
        (lambda: Integer(9, 15, q=8), ["no multiple of q 8"]),
        (lambda: Choice(()), ["values is empty"]),
        (lambda: Choice("abc"), ["values must be a list"]),
        (lambda: Choice((1, 2, 1, "a", "a")), ["the value 1 is listed 2 times", 'the value "a" is listed 2 times']),
        (lambda: Choice((0.5, math.nan, -math.inf)), ["nan is not finite", "-inf is not finite"]),
        (lambda: Constant(math.inf), ["inf is not finite"]),
    ],
)
def test_a_domain_refuses_what_it_cannot_be_and_says_all_of_it(make, messages):
    with pytest.raises(SpaceError) as raised:
        make()
    told = [message for _, message in raised.value.problems]
    assert len(told) == len(messages)
    assert all(expected in message for expected, message in zip(messages, told, strict=True))


def test_values_that_only_look_alike_are_not_duplicates():
    assert Choice((1, 1.0, True, "1")).size == 4


def test_equal_bounds_are_a_range_of_one_value(rng):
    assert Float(0.1, 0.1).sample(rng) == 0.1
    assert Float(0.1, 0.1, log=True).sample(rng) == 0.1
    assert Integer(3, 3).sample(rng) == 3
