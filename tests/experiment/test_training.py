"""Chunks change when numbers are read, never which numbers there are."""

from operator import itemgetter

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import nagviz as nv
from nagviz.experiment.training import Batches, train

SAMPLES = {"x": jnp.linspace(-1, 1, 23)[:, None], "y": jnp.linspace(1, 3, 23)}


def loss(params, batch):
    return jnp.mean((batch["x"] @ params["w"] + params["b"] - batch["y"]) ** 2)


START = {"w": jnp.ones(1), "b": jnp.zeros(())}
BATCHES = Batches(SAMPLES, size=5, seed=3)


def test_an_epoch_draws_each_sample_once_at_most_and_the_next_another_order():
    epochs = BATCHES.indices(0, 8).reshape(2, 20)
    for epoch in epochs:
        assert len(set(epoch)) == 20
    assert epochs[0].tolist() != epochs[1].tolist()


def test_the_order_of_samples_does_not_depend_on_where_a_chunk_begins():
    whole = BATCHES.indices(0, 30)
    parts = [BATCHES.indices(*ends) for ends in ((0, 3), (3, 4), (4, 17), (17, 30))]
    np.testing.assert_array_equal(np.concatenate(parts), whole)
    assert Batches(SAMPLES, 5, seed=4).indices(0, 30).tolist() != whole.tolist()


@pytest.mark.parametrize("steps", [60, 14])
def test_training_is_the_plain_loop(steps):
    optimizer = nv.nag(0.05, 0.9)
    chunks = list(train(loss, START, optimizer, steps=steps, every=2, batches=BATCHES, observe=nv.iterate))
    params, state, points, losses = START, optimizer.init(START), [], []
    for t, drawn in enumerate(BATCHES.indices(0, steps), 1):
        batch = jax.tree.map(itemgetter(drawn), SAMPLES)
        value, gradient = jax.value_and_grad(loss)(params, batch)
        updates, state = optimizer.update(gradient, state, params)
        params = optax.apply_updates(params, updates)
        losses.append(value)
        if t % 2 == 0:
            points.append(nv.iterate(state, params)["w"])
    assert np.concatenate([c.steps for c in chunks]).tolist() == list(range(2, steps + 1, 2))
    np.testing.assert_allclose(np.concatenate([c.losses for c in chunks]), losses, rtol=1e-4)
    np.testing.assert_allclose(np.concatenate([c.params["w"] for c in chunks]), points, rtol=1e-4)


def test_the_start_is_not_consumed():
    list(train(loss, START, optax.sgd(0.1), steps=4, every=1, batches=BATCHES))
    assert float(START["w"][0]) == 1.0


def test_a_loss_without_data_needs_no_batches():
    chunks = train(lambda w: w**2, jnp.array(1.0), optax.sgd(0.25), steps=3, every=1)
    assert np.concatenate([chunk.params for chunk in chunks]).tolist() == [0.5, 0.25, 0.125]


def test_snapshots_must_fall_on_the_last_step():
    with pytest.raises(ValueError, match="every must divide steps = 10, got 3"):
        next(train(loss, START, optax.sgd(0.1), steps=10, every=3, batches=BATCHES))
