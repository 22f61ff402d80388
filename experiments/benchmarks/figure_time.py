"""How long does a figure take, from a stored slice of 101 x 101 points and five paths of 500 points each?

    python experiments/benchmarks/figure_time.py [--rounds 5] [--format png] [--only landscape,compare]

Each figure is drawn and written anew in every round, in turn with the others; reading the slice from disk is part of
it, importing is not. The first round, in which fonts are measured for the first time, is told apart. `step` evaluates
its own plane: its first round compiles. Prints first, median and mark; the marks are 2 s, 10 s for `step` and 5 s for
a GIF of 100 frames.
"""

import argparse
import io
import statistics
import tempfile
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax

import nagviz as nv
from nagviz import figures
from nagviz.experiment.anatomy import dissect

SIDE, POINTS, SAMPLES = 101, 500, 256
NAMES = ("NAG", "heavy ball", "SGD", "Adam", "Adagrad")
MARKS = {"step": 10.0, "animation": 5.0}
MARK = 2.0


def rosenbrock(x, y):
    return (1 - x) ** 2 + 10 * (y - x**2) ** 2 + 0.01


def walked(learning_rate, momentum):
    """The iterates of NAG, which all paths take in their own way."""
    slope = jax.grad(lambda w: rosenbrock(*w))

    def step(carry, _):
        x, s = carry
        moved = x + s - learning_rate * slope(x + s)
        return (moved, momentum * (moved - x)), moved

    start = jnp.array([-1.5, 2.0])
    return np.asarray(jax.lax.scan(step, (start, 0 * start), length=POINTS)[1])


def stored(folder):
    """The slice on disk, and the paths."""
    x, y = np.linspace(-2, 2, SIDE), np.linspace(-1, 3, SIDE)
    labels = "PC 1 (70.1% of path variance)", "PC 2 (12.9% of path variance)"
    cut = nv.Slice(x, y, rosenbrock(x, y[:, None]), labels, "train cross entropy, 1,437 samples")
    nv.save_slice(folder / "cut.zarr", cut)
    rates = zip(NAMES, (0.004, 0.005, 0.006, 0.007, 0.003), (0.9, 0.8, 0.0, 0.5, 0.2), strict=True)
    steps, hidden = np.arange(POINTS), np.linspace(0, 1, POINTS) ** 0.5
    return {name: nv.Projection(walked(rate, mu), (i + 1) * hidden, steps) for i, (name, rate, mu) in enumerate(rates)}


def drawings(folder, paths):
    """By name, what makes a figure."""
    steps, along = np.arange(POINTS), np.linspace(-0.5, 1.5, SIDE)
    losses = {name: (steps, rosenbrock(*path.coordinates.T)) for name, path in paths.items()}
    line = figures.Line(along, {"train": 0.1 + along**2, "test": 0.2 + along**2}, {"NAG": 0.0, "SGD": 1.0})
    sharp = figures.Spectrum(steps, np.stack([40 - 20 * 0.99**steps, 10 + 0 * steps], axis=1), 40.0 + 0 * steps)
    methods = {"NAG": np.array([[1.0, 0.82, 0.0]]), "heavy ball": np.array([[0.0, 0.9, 1.0]])}

    def read():
        return nv.load_slice(folder / "cut.zarr")

    return {
        "landscape": lambda: figures.landscape(read(), paths, walk=(0.19, 0.19)),
        "compare": lambda: figures.compare(figures.one_each(read(), paths)),
        "field": lambda: figures.field(read(), paths),
        "surface": lambda: figures.surface(read(), paths),
        "curves": lambda: figures.curves({"train loss": losses, "test loss": losses}),
        "cuts": lambda: figures.cuts({f"NAG to {name}": line for name in NAMES[1:]}),
        "spectrum": lambda: figures.spectrum(dict.fromkeys(NAMES, sharp)),
        "family": lambda: figures.family(methods, 100),
        "step": taken_apart(),
        "animation": lambda: figures.animate(read(), paths, frames=100),
    }


def taken_apart():
    """A step of a network of 10,000 parameters, made so anew that it is compiled once and never again."""
    key = jax.random.key(0)
    data, truth = jax.random.normal(key, (SAMPLES, 64)), jax.random.normal(key, (SAMPLES, 10))
    params = {"in": jax.random.normal(key, (64, 128)) / 8, "out": jax.random.normal(key, (128, 10)) / 11}

    def loss(p, batch):
        return jnp.mean((jnp.tanh(batch[0] @ p["in"]) @ p["out"] - batch[1]) ** 2)

    optimizer, state, y = nv.nag(0.5, momentum=0.9), None, params
    state = optimizer.init(y)
    for _ in range(10):
        updates, state = optimizer.update(jax.grad(loss)(y, (data, truth)), state, y)
        y = optax.apply_updates(y, updates)
    return lambda: figures.step(dissect(loss, optimizer, state, y, batch=(data, truth), step=11, method="NAG"))


def seconds(draw, kind):
    start = time.perf_counter()
    draw().savefig(io.BytesIO(), format=kind)
    return time.perf_counter() - start


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="after the first")
    parser.add_argument("--format", default="png", choices=("png", "pdf", "svg"), help="of all but the animation")
    parser.add_argument("--only", default="", help="names, with commas between")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        made = drawings(Path(folder), stored(Path(folder)))
        chosen = {name: made[name] for name in (options.only.split(",") if options.only else made)}
        kinds = {name: "gif" if name == "animation" else options.format for name in chosen}
        taken = [{name: seconds(draw, kinds[name]) for name, draw in chosen.items()} for _ in range(options.rounds + 1)]
    print(f"{'figure':12} {'first s':>8} {'median s':>9} {'mark s':>7}")
    for name in chosen:
        first, *others = (of_round[name] for of_round in taken)
        mark = MARKS.get(name, MARK)
        slow = "" if max(first, statistics.median(others)) < mark else "  too slow"
        print(f"{name:12} {first:8.2f} {statistics.median(others):9.2f} {mark:7.1f}{slow}")


if __name__ == "__main__":
    main()
