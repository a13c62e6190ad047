"""The order of the examples: each once, every order as likely as any other."""

from collections import Counter
from functools import partial

import jax
import numpy as np
import pytest

from fcjax.train.shuffle import random_order


@pytest.mark.parametrize("examples", [1, 2, 3, 1000, 2**11, 2**11 + 1, 70_000])
def test_each_number_once(examples):
    order = jax.jit(partial(random_order, examples=examples))(jax.random.key(0))
    np.testing.assert_array_equal(np.sort(order), np.arange(examples))


def test_every_order_is_as_likely_as_any_other():
    keys = jax.random.split(jax.random.key(1), 24 * 500)
    orders = np.asarray(jax.vmap(partial(random_order, examples=4))(keys))
    counts = Counter(map(tuple, orders.tolist()))
    assert len(counts) == 24
    # 23 degrees of freedom: 49.7 is exceeded once in a thousand times, and the key is fixed
    assert sum((count - 500) ** 2 / 500 for count in counts.values()) < 49.7


def test_places_are_uniform_and_neighbours_part():
    """With 17 bits for the place, a word has 15 for the order: more than one round is needed."""
    examples = 70_000
    order = np.asarray(random_order(jax.random.key(2), examples)).astype(int)
    assert abs(np.corrcoef(order, np.arange(examples))[0, 1]) < 4 / np.sqrt(examples)
    # words with equal random bits keep their order: after one round, two of three would rise
    rising = np.mean(order[1:] > order[:-1])
    assert abs(rising - 0.5) < 4 * np.sqrt(1 / 12 / examples)


@pytest.mark.parametrize("examples", [0, -1, 2**31])
def test_numbers_of_examples_that_cannot_be(examples):
    with pytest.raises(ValueError, match=r"examples must be between 1 and 2³¹ − 1, got int"):
        random_order(jax.random.key(0), examples)


def test_memory_grows_with_the_examples_alone():
    """Not with the number of rounds, which grows with them too."""

    def bytes_per_example(examples):
        compiled = jax.jit(random_order, static_argnums=1).lower(jax.random.key(0), examples)
        return compiled.compile().memory_analysis().temp_size_in_bytes / examples

    assert bytes_per_example(10**4) == pytest.approx(bytes_per_example(10**7), rel=0.01)
