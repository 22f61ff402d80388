"""Is `train` as fast as a loop written by hand? Both in turn, in one process.

    python experiments/benchmarks/train_overhead.py [--pairs 11] [--only cnn]

The loop by hand is a jitted scan over the steps of a chunk: buffers donated, data on the device, batches drawn by
NumPy, losses left on the device until the end, no snapshots. `train` does the same steps on the same batches, and
fetches losses and snapshots of all parameters on its way. Prints the median time of each and of the ratio pair by pair;
then what it takes to train three seeds at four rates one by one, and side by side.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

import nagviz as nv
from nagviz.experiment.models import take_apart
from nagviz.experiment.networks import MLP
from nagviz.experiment.training import Batches, train, train_together


class CNN(nnx.Module):
    def __init__(self, *, rngs):
        self.first = nnx.Conv(1, 8, (3, 3), strides=2, rngs=rngs)
        self.second = nnx.Conv(8, 16, (3, 3), strides=2, rngs=rngs)
        self.last = nnx.Linear(7 * 7 * 16, 10, rngs=rngs)

    def __call__(self, x):
        x = nnx.relu(self.second(nnx.relu(self.first(x))))
        return self.last(x.reshape(len(x), -1))


class Case(NamedTuple):
    """What is trained."""

    model: Callable[[nnx.Rngs], nnx.Module]
    inputs: tuple[int, ...]  # their shape, samples first
    batch: int
    steps: int
    every: int  # steps between snapshots


CASES = {
    "digits MLP 64-32-16-10, batch 256": Case(lambda r: MLP((64, 32, 16, 10), rngs=r), (1347, 64), 256, 10_000, 4),
    "the same, a snapshot each step": Case(lambda r: MLP((64, 32, 16, 10), rngs=r), (1347, 64), 256, 10_000, 1),
    "MLP 784-100-10, batch 128": Case(lambda r: MLP((784, 100, 10), rngs=r), (10_000, 784), 128, 2000, 20),
    "CNN on 28x28, batch 128": Case(lambda r: CNN(rngs=r), (10_000, 28, 28, 1), 128, 100, 10),
}
OPTIMIZERS = {"nag": lambda: nv.nag(0.05, 0.9), "adam": lambda: optax.adam(1e-3)}


def problem(case, seed=0):
    """A loss, a start and batches; what the samples are does not matter to the time."""
    model = take_apart(case.model(nnx.Rngs(seed)))
    generator = np.random.default_rng(0)
    samples = {
        "x": generator.random(case.inputs, np.float32),
        "y": generator.integers(0, 10, case.inputs[0], np.int32),
    }

    def loss(params, batch):
        logits = model.apply(params, batch["x"])
        return optax.softmax_cross_entropy_with_integer_labels(logits, batch["y"]).mean()

    return loss, model.params, Batches(jax.device_put(samples), case.batch, seed)


def by_hand(loss, start, optimizer, batches, steps, chunk):
    """A compiled loop over a chunk, and what runs all of them."""

    def step(carry, rows, samples):
        params, state = carry
        batch = jax.tree.map(lambda leaf: leaf[rows], samples)
        value, gradient = jax.value_and_grad(loss)(params, batch)
        updates, state = optimizer.update(gradient, state, params)
        return (optax.apply_updates(params, updates), state), value

    def scanned(carry, rows, samples):
        return jax.lax.scan(lambda carry, row: step(carry, row, samples), carry, rows)

    def begin():
        return jax.tree.map(jnp.copy, (start, optimizer.init(start)))

    rows = batches.indices(0, chunk)
    compiled = jax.jit(scanned, donate_argnums=0).lower(begin(), rows, batches.samples).compile()

    def run():
        carry, losses = jax.block_until_ready(begin()), []
        began = time.perf_counter()
        for first in range(0, steps, chunk):
            carry, values = compiled(carry, batches.indices(first, first + chunk), batches.samples)
            losses.append(values)
        jax.block_until_ready(carry)
        losses = np.concatenate(jax.device_get(losses))
        return time.perf_counter() - began, losses

    return run


def by_train(loss, start, optimizer, batches, case):
    """The seconds from the first dispatch to the last chunk in hand, without compilation."""
    chunks, ends = [], []
    options = {"steps": case.steps, "snapshots": range(case.every, case.steps + 1, case.every), "batches": batches}
    for chunk in train(loss, start, optimizer, **options):
        chunks.append(chunk)
        ends.append(time.perf_counter())
    # The first chunk is handed out when the second is on its way: before it lies its own time.
    return ends[-1] - ends[0] + chunks[0].seconds, np.concatenate([chunk.losses for chunk in chunks])


def overhead(case, make, pairs):
    loss, start, batches = problem(case)
    optimizer = make()
    bare = by_hand(loss, start, optimizer, batches, case.steps, case.steps // 10)
    taken = []
    for pair in range(pairs + 1):
        order = (bare, lambda: by_train(loss, start, optimizer, batches, case))
        (first, a), (second, b) = [run() for run in (order if pair % 2 else order[::-1])]
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5)
        if pair:  # the first is a warm-up
            taken.append((first, second) if pair % 2 else (second, first))
    return taken


def side_by_side(case, pairs, rates=(0.01, 0.02, 0.05, 0.1), seeds=3):
    made = [(rate, *problem(case, seed)) for seed in range(seeds) for rate in rates]
    loss = made[0][1]
    # The first steps tell whether the numbers agree: later ones carry rounding on, as far as the loss is steep.
    shared: dict[str, Any] = {"steps": 400, "snapshots": range(4, 401, 4), "observe": nv.iterate}
    taken = []
    for _ in range(pairs):
        began = time.perf_counter()
        alone = [list(train(loss, s, nv.nag(r, 0.9), batches=b, **shared)) for r, _, s, b in made]
        middle = time.perf_counter()
        _, _, starts, batches = zip(*made, strict=True)
        given = [rate for rate, *_ in made]
        together = list(train_together(loss, starts, lambda r: nv.nag(r, 0.9), given, batches=batches, **shared))
        whole = time.perf_counter() - middle
        trained = sum(c.seconds for chunks in alone for c in chunks), sum(c.seconds for c in together)
        taken.append((middle - began, whole, *trained))
    one = np.stack([chunks[0].losses for chunks in alone])
    apart = np.abs(together[0].losses / one - 1).max()
    return [statistics.median(column) for column in zip(*taken, strict=True)], apart


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=11)
    parser.add_argument("--rounds", type=int, default=3, help="of the trials side by side; 0 for none")
    parser.add_argument("--only", default="", help="models whose names contain this")
    options = parser.parse_args()
    print(f"jax {jax.__version__}, optax {optax.__version__}, {jax.devices()[0].platform}")
    for name, case in CASES.items():
        for rival, make in OPTIMIZERS.items():
            if options.only.lower() not in name.lower():
                continue
            taken = overhead(case, make, options.pairs)
            ratios = sorted(ours / theirs for theirs, ours in taken)
            quarter = len(ratios) // 4
            by_hand_, ours = (statistics.median(column) / case.steps * 1e6 for column in zip(*taken, strict=True))
            print(
                f"  {name:36s} {rival:5s} by hand {by_hand_:8.1f} us a step, train {ours:8.1f}   "
                f"{statistics.median(ratios):.3f} (quartiles {ratios[quarter]:.3f} to {ratios[-1 - quarter]:.3f})",
                flush=True,
            )
    if not options.rounds:
        return
    print("3 seeds x 4 rates, 400 steps")
    for name in (name for name in CASES if options.only.lower() in name.lower() and "same" not in name):
        (alone, together, trained_alone, trained), apart = side_by_side(CASES[name], options.rounds)
        print(
            f"  {name:36s} one by one {alone:6.2f} s, side by side {together:6.2f} s (without compilation "
            f"{trained_alone:.2f} s, {trained:.2f} s); losses of 40 steps apart by {apart:.1e} of themselves",
            flush=True,
        )


if __name__ == "__main__":
    main()
