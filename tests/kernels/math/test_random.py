from __future__ import annotations

import numpy as np
import pytest

from selfdrive_env.compiler.njit import entry
from selfdrive_env.kernels.math.random import (
    DRAW_BODY,
    DRAW_GOALS,
    normal_pair,
    philox,
    uniform,
    uniforms,
)
from tests import reference
from tests.kernels import bits, from_python, plain

plain_normal_pair = plain(normal_pair)
normal_pair = from_python(normal_pair)
philox = from_python(philox)
uniform = from_python(uniform)
uniforms = from_python(uniforms)

ONES = 0xFFFFFFFF

# Random123's kat_vectors for philox4x32-10: counter, key -> words.
KNOWN = (
    ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    ((ONES,) * 4, (ONES,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xA4093822, 0x299F31D0),
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
)


@entry
def many(key0, key1, stream, agents, ticks, purpose, draws, out):
    place = 0
    for agent in range(-1, agents - 1):
        for tick in range(ticks):
            for draw in range(draws):
                a, b, c, d = uniforms(key0, key1, stream, agent, tick, purpose, draw)
                out[place] = a, b, c, d
                place += 1


def sample(seed=0, stream=0, purpose=DRAW_BODY, agents=20, ticks=50, draws=25):
    out = np.zeros((agents * ticks * draws, 4), np.float32)
    key = np.array([seed & ONES, seed >> 32], np.uint32)
    many(key[0], key[1], np.uint32(stream), agents, ticks, purpose, draws, out)
    return out


@pytest.mark.parametrize(("counter", "key", "words"), KNOWN)
def test_known_answers(counter, key, words):
    assert reference.philox(counter, key) == words
    assert philox(*(np.uint32(v) for v in (*counter, *key))) == words


def test_words_agree_with_plain_integers():
    random = np.random.default_rng(0)
    for numbers in random.integers(0, 2**32, (200, 6)).astype(np.uint32):
        plain = [int(n) for n in numbers]
        assert philox(*numbers) == reference.philox(tuple(plain[:4]), tuple(plain[4:]))


def test_uniforms_agree_with_plain_integers():
    key = (np.uint32(5), np.uint32(ONES))
    found = uniforms(*key, np.uint32(7), -1, np.uint32(2**32 - 3), DRAW_GOALS, 65535)
    assert found == reference.uniforms(key, 7, -1, 2**32 - 3, DRAW_GOALS, 65535)


def test_uniforms_are_in_range_and_spread_evenly():
    numbers = sample()
    assert numbers.min() >= 0.0
    assert numbers.max() < 1.0
    count, _ = np.histogram(numbers, 64, (0.0, 1.0))
    expected = numbers.size / 64
    chi_square = ((count - expected) ** 2 / expected).sum()
    assert 25.0 < chi_square < 120.0  # 63 degrees of freedom
    assert abs(np.corrcoef(numbers.T) - np.eye(4)).max() < 0.02


@pytest.mark.parametrize(
    "other",
    [{"seed": 1}, {"seed": 1 << 32}, {"stream": 1}, {"purpose": DRAW_GOALS}],
    ids=lambda other: next(iter(other)),
)
def test_draws_are_independent(other):
    a, b = sample().ravel(), sample(**other).ravel()
    assert abs(np.corrcoef(a, b)[0, 1]) < 0.02
    assert (a == b).mean() < 1e-3


def test_no_draw_comes_twice_within_a_sample():
    words = sample(agents=8, ticks=20, draws=20).astype(np.float64)
    assert len(np.unique(words @ [1.0, 2.0**24, 2.0**12, 2.0**36])) == len(words)


def test_uniform_stays_below_its_upper_bound():
    low, high = np.float32(0.8), np.float32(7.0)
    assert uniform(low, high, np.float32(0.0)) == low
    assert uniform(low, high, np.float32(1.0 - 2.0**-24)) <= high


def test_normal_pairs_are_standard_normal():
    numbers = sample()
    pairs = np.array([normal_pair(a, b) for a, b, _, _ in numbers[:20000]])
    assert np.isfinite(pairs).all()
    assert abs(pairs.mean()) < 0.02
    assert abs(pairs.std() - 1.0) < 0.02
    assert abs(np.corrcoef(pairs.T)[0, 1]) < 0.03
    assert (np.abs(pairs) > 3.0).mean() == pytest.approx(0.0027, abs=0.001)
    assert np.isfinite(normal_pair(np.float32(0.0), np.float32(0.0))).all()


def test_normal_pairs_are_those_of_box_and_muller():
    numbers = sample()[:2000, :2]
    ends = np.float32([0.0, 2.0**-24, 0.25, 0.5, 0.75, 1.0 - 2.0**-24])
    numbers = np.concatenate([numbers, np.stack(np.meshgrid(ends, ends), -1).reshape(-1, 2)])
    found = np.array([normal_pair(*pair) for pair in numbers], np.float64)
    a, b = numbers.astype(np.float64).T
    radius = np.sqrt(-2.0 * np.log(np.float32(a + 2.0**-25).astype(np.float64)))
    wanted = [radius * np.cos(2.0 * np.pi * b), radius * np.sin(2.0 * np.pi * b)]
    np.testing.assert_allclose(found, np.transpose(wanted), rtol=0.0, atol=1e-6)


def test_normal_pairs_have_the_same_bits_in_plain_python():
    for a, b, _, _ in sample(agents=1, ticks=20):
        expected = tuple(np.float32(value) for value in normal_pair(a, b))
        assert bits(plain_normal_pair(a, b)) == bits(expected)
