"""Chunks change when numbers are read, never which numbers there are."""

import json
import os
import subprocess
import sys
from operator import itemgetter

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import nagviz as nv
from nagviz.experiment import training
from nagviz.experiment.training import Batches, train, train_together

SAMPLES = {"x": jnp.linspace(-1, 1, 23)[:, None], "y": jnp.linspace(1, 3, 23)}


def loss(params, batch):
    return jnp.mean((batch["x"] @ params["w"] + params["b"] - batch["y"]) ** 2)


START = {"w": jnp.ones(1), "b": jnp.zeros(())}
BATCHES = Batches(SAMPLES, size=5, seed=3)
UNEVEN = [1, 2, 4, 9, 33, 40]  # the last of 60 steps is not among them


def whole(chunks):
    """Chunks put together: steps, points and losses."""
    chunks = list(chunks)
    parts = [(chunk.steps, chunk.observed, chunk.losses) for chunk in chunks]
    return jax.tree.map(lambda *leaves: np.concatenate(leaves), *parts)


def same(one, other):
    for leaf, another in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        np.testing.assert_array_equal(leaf, another)


@pytest.fixture(scope="module")
def plain():
    """Sixty steps of the plain loop: iterates after each, and the losses."""
    optimizer = nv.nag(0.05, 0.9)

    @jax.jit
    def step(params, state, batch):
        value, gradient = jax.value_and_grad(loss)(params, batch)
        updates, state = optimizer.update(gradient, state, params)
        params = optax.apply_updates(params, updates)
        return params, state, value, nv.iterate(state, params)["w"]

    params, state, points, losses = START, optimizer.init(START), [], []
    for drawn in BATCHES.indices(0, 60):
        params, state, value, point = step(params, state, jax.tree.map(itemgetter(drawn), SAMPLES))
        points.append(point)
        losses.append(value)
    return np.array(points), np.array(losses)


def test_an_epoch_draws_each_sample_once_at_most_and_the_next_another_order():
    epochs = BATCHES.indices(0, 8).reshape(2, 20)
    for epoch in epochs:
        assert len(set(epoch)) == 20
    assert epochs[0].tolist() != epochs[1].tolist()


def test_the_order_of_samples_does_not_depend_on_where_a_chunk_begins():
    all_ = BATCHES.indices(0, 30)
    parts = [BATCHES.indices(*ends) for ends in ((0, 3), (3, 4), (4, 17), (17, 30))]
    np.testing.assert_array_equal(np.concatenate(parts), all_)
    assert Batches(SAMPLES, 5, seed=4).indices(0, 30).tolist() != all_.tolist()


@pytest.mark.parametrize("snapshots", [range(2, 61, 2), UNEVEN], ids=["even", "uneven"])
def test_training_is_the_plain_loop(plain, snapshots):
    options = {"batches": BATCHES, "observe": nv.iterate, "chunk": 7}
    steps, points, losses = whole(train(loss, START, nv.nag(0.05, 0.9), steps=60, snapshots=snapshots, **options))
    assert steps.tolist() == list(snapshots)
    np.testing.assert_allclose(losses, plain[1], rtol=1e-4)
    np.testing.assert_allclose(points["w"], plain[0][np.array(snapshots) - 1], rtol=1e-4)


def test_chunks_of_any_length_leave_the_same_bits():
    options = {"steps": 60, "snapshots": UNEVEN, "batches": BATCHES}
    once = whole(train(loss, START, optax.adam(0.1), chunk=60, **options))
    for chunk in (1, 13):
        same(once, whole(train(loss, START, optax.adam(0.1), chunk=chunk, **options)))


def test_a_chunk_holds_no_more_than_it_may(monkeypatch):
    monkeypatch.setattr(training, "OBSERVED_BYTES", 3 * 8)  # three snapshots of w and b
    chunks = list(train(loss, START, optax.sgd(0.1), steps=60, snapshots=range(1, 61), batches=BATCHES, chunk=60))
    assert [len(chunk.steps) for chunk in chunks] == [3] * 20


def test_training_goes_on_from_what_a_chunk_carries():
    options = {"steps": 60, "snapshots": UNEVEN, "batches": BATCHES, "chunk": 20}
    chunks = list(train(loss, START, optax.adam(0.1), **options))
    for i, chunk in enumerate(chunks):
        rest = train(loss, START, optax.adam(0.1), carried=(chunk.done, chunk.carried), **options)
        for one, other in zip(rest, chunks[i + 1 :], strict=True):
            same(one._replace(seconds=0), other._replace(seconds=0))


def test_a_state_of_weak_type_is_gone_on_from_as_it_was_begun():
    """A number in the state over bfloat16 is worked on in float32 from the start, as it is once it was on disk."""
    seen = []

    def update(gradient, state, params=None):
        del params
        seen.append((gradient * state).dtype.name)
        return (gradient * state).astype(gradient.dtype), state * 0.7

    optimizer = optax.GradientTransformation(lambda params: jnp.add(-0.7, 0.0), update)
    options = {"steps": 20, "snapshots": range(1, 21), "chunk": 5}
    start = jnp.array([1.0, 3.0], jnp.bfloat16)
    chunks = list(train(lambda w: (w**2).sum(), start, optimizer, **options))
    carried = jax.device_put(jax.device_get(chunks[0].carried))
    rest = train(lambda w: (w**2).sum(), start, optimizer, carried=(5, carried), **options)
    same(whole(chunks[1:]), whole(rest))
    assert set(seen) == {"float32"}


def test_no_chunk_is_begun_once_it_was_asked_to_stop():
    asked = []

    def stop():
        asked.append(1)
        return len(asked) > 2

    chunks = list(train(loss, START, optax.sgd(0.1), steps=60, snapshots=[60], batches=BATCHES, chunk=10, stop=stop))
    assert [chunk.done for chunk in chunks] == [10, 20]


def test_the_start_and_what_is_carried_are_not_consumed():
    (chunk,) = train(loss, START, optax.sgd(0.1), steps=4, snapshots=[4], batches=BATCHES, chunk=4)
    list(train(loss, START, optax.sgd(0.1), steps=8, snapshots=[8], batches=BATCHES, carried=(4, chunk.carried)))
    assert float(START["w"][0]) == 1.0
    assert np.isfinite(chunk.carried[0]["w"]).all()


def test_a_loss_without_data_needs_no_batches():
    chunks = train(lambda w: w**2, jnp.array(1.0), optax.sgd(0.25), steps=3, snapshots=[1, 2, 3])
    assert whole(chunks)[1].tolist() == [0.5, 0.25, 0.125]


@pytest.mark.parametrize("make", [lambda rate: nv.nag(rate, 0.9), optax.adam], ids=["nag", "adam"])
def test_trials_side_by_side_are_each_what_it_is_alone(make):
    starts = [START, {"w": jnp.zeros(1), "b": jnp.ones(())}, START]
    batches = [BATCHES, BATCHES, Batches(SAMPLES, 5, seed=8)]
    rates, shared = [0.05, 0.02, 0.05], {"steps": 60, "snapshots": UNEVEN, "chunk": 13}
    together = list(train_together(loss, starts, make, rates, batches=batches, **shared))
    for i, (start, rate, drawn) in enumerate(zip(starts, rates, batches, strict=True)):
        alone = list(train(loss, start, make(rate), batches=drawn, **shared))
        for one, chunk in zip(alone, together, strict=True):
            of_trial = jax.tree.map(itemgetter(i), (chunk.observed, chunk.losses, chunk.carried[0]))
            for mine, its in zip(
                jax.tree.leaves(of_trial), jax.tree.leaves((one.observed, one.losses, one.carried[0])), strict=True
            ):
                np.testing.assert_allclose(mine, its, rtol=2e-5, atol=1e-6)


@pytest.mark.parametrize("snapshots", [[0, 5], [5, 5], [11]])
def test_snapshots_increase_within_the_steps(snapshots):
    with pytest.raises(ValueError, match=r"snapshots must increase within 1 to steps = 10, got \["):
        next(train(loss, START, optax.sgd(0.1), steps=10, snapshots=snapshots, batches=BATCHES))


# Devices that share a batch.


def on_four_devices():
    """Of each mesh: how far its points are from one device's, and whether all kept the layout they began with."""
    rng, batches = np.random.default_rng(0), Batches(SAMPLES, size=8, seed=3)
    params = {"a": jnp.asarray(rng.normal(size=(1, 8)), jnp.float32), "b": jnp.zeros(8), "c": jnp.ones(8)}

    def of_net(p, batch):
        return jnp.mean(((jnp.tanh(batch["x"] @ p["a"] + p["b"]) * p["c"]).sum(1) - batch["y"]) ** 2)

    def naming(p, batch):
        """The same, by a model that names an axis of the mesh that it is trained on."""
        parts = jax.sharding.PartitionSpec("data")
        explicit = jax.sharding.AxisType.Explicit in jax.sharding.get_abstract_mesh().axis_types
        lay = jax.sharding.reshard if explicit else jax.lax.with_sharding_constraint
        return of_net(p, jax.tree.map(lambda leaf: lay(leaf, parts), batch))

    def trained(params, mesh=None):
        optimizer, loss = nv.nag(0.05, restart=nv.gradient_restart()), of_net if mesh is None else naming
        options = {"batches": batches, "chunk": 10, "mesh": mesh}
        return list(train(loss, params, optimizer, steps=20, snapshots=[1, 7, 20], **options))

    alone = whole(trained(params))

    def compared(kind, layout):
        mesh = jax.make_mesh((2, 2), ("data", "model"), axis_types=(kind,) * 2)
        layouts = {name: jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec(*layout[name])) for name in params}
        placed = jax.device_put(params, layouts)
        chunks = trained(placed, mesh=mesh)
        seen = whole(chunks)
        error = max(float(np.max(np.abs(x - y))) for x, y in zip(*map(jax.tree.leaves, (seen, alone)), strict=True))
        moved = chunks[-1].carried[1][1].displacement
        kept = [leaf.sharding.is_equivalent_to(placed[name].sharding, leaf.ndim) for name, leaf in moved.items()]
        return error, all(kept)

    apart = {"a": (None, "model"), "b": ("model",), "c": ("model",)}
    alike = dict.fromkeys(params, ())
    kinds = jax.sharding.AxisType
    rows = {
        f"{kind.name} {word}": compared(kind, layout)
        for kind in (kinds.Auto, kinds.Explicit)
        for word, layout in {"alike": alike, "apart": apart}.items()
    }
    mesh = jax.make_mesh((4,), ("data",), axis_types=(kinds.Auto,))
    try:
        list(train(loss, START, optax.sgd(0.1), steps=4, snapshots=[4], batches=BATCHES, mesh=mesh))
    except ValueError as error:
        print(json.dumps(rows | {"refused": str(error)}))


def test_devices_share_a_batch():
    environment = os.environ | {"XLA_FLAGS": "--xla_force_host_platform_device_count=4", "JAX_PLATFORMS": "cpu"}
    code = f"import runpy; runpy.run_path({__file__!r})['on_four_devices']()"
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found.pop("refused").startswith("batches of 5 cannot be shared evenly by the 4 devices of the mesh's axis")
    assert len(found) == 4
    for row, (error, kept) in found.items():
        assert error < 2e-6, row
        assert kept, row
