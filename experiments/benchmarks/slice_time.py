"""How fast is a slice? nagviz against PyTorch, loss-landscapes and plain JAX, in turn, in one process.

    OMP_NUM_THREADS=2 python experiments/benchmarks/slice_time.py [--only mlp] [--rounds 5] [--budget 1e9]

Runs what it finds: PyTorch (its build for the CPU is enough) and `pip install
loss-landscapes` add those rows. Prints the median milliseconds per grid point of each way, the ratio to nagviz
round by round, the largest relative difference of the surfaces, compile time, the time above the matmuls that
remain at every point, how the cost grows with points and with data, and peak memory beside the budget.
"""

import argparse
import importlib.util
import os
import statistics
import time
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

THREADS = int(os.environ.setdefault("OMP_NUM_THREADS", "2"))  # all get as many; before jax and torch start
if hasattr(os, "sched_setaffinity") and len(os.sched_getaffinity(0)) > THREADS:
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:THREADS])

import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402

import nagviz as nv  # noqa: E402

TORCH = importlib.util.find_spec("torch") is not None
PACKAGE = TORCH and importlib.util.find_spec("loss_landscapes") is not None


class Case(NamedTuple):
    """A model in JAX and what is left of it at every point."""

    loss: Callable[..., jax.Array]
    params: list[tuple[jax.Array, jax.Array]]
    data: tuple[np.ndarray, np.ndarray]
    grid: int
    again: int  # grid of the rounds in which all ways take turns: every first or second point of it
    floor: Callable[[int], tuple[Callable[..., Any], list[jax.Array]]]  # the matmuls left, for so many samples
    points: int  # that a slow way is timed on in each round
    marks: dict[str, float]  # nagviz is to be so many times faster


# --- the models, in JAX and in PyTorch -----------------------------------------------------------------------


def entropy(logits, labels):
    return jnp.mean(jax.nn.logsumexp(logits, axis=1) - jnp.take_along_axis(logits, labels[:, None], axis=1)[:, 0])


def mlp_loss(params, batch):
    hidden = batch[0]
    for kernel, bias in params[:-1]:
        hidden = jax.nn.relu(hidden @ kernel + bias)
    return entropy(hidden @ params[-1][0] + params[-1][1], batch[1])


def conv(x, kernel):
    return jax.lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))


def cnn_loss(params, batch):
    hidden = batch[0]
    for kernel, bias in params[:2]:
        hidden = jax.nn.relu(conv(hidden, kernel) + bias)
        hidden = jax.lax.reduce_window(hidden, -jnp.inf, jax.lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")
    return entropy(hidden.reshape(len(hidden), -1) @ params[2][0] + params[2][1], batch[1])


def drawn(seed, *shape):
    fan_in = max(1, int(np.prod(shape[:-1])))
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape) * np.sqrt(2 / fan_in), jnp.float32)


def mlp_case(sizes, samples, grid, points, marks):
    draw = np.random.default_rng(0)
    layers = list(pairwise(sizes))
    params = [(drawn(n, a, b), 0.1 * drawn(n + 50, b)) for n, (a, b) in enumerate(layers)]
    data = draw.normal(size=(samples, sizes[0])).astype(np.float32), draw.integers(0, sizes[-1], samples)

    def floor(count):
        kernels = [drawn(n, a, b) for n, (a, b) in enumerate(layers[1:])]

        def chain(hidden, *kernels):
            for kernel in kernels:
                hidden = hidden @ kernel
            return hidden

        return chain, [drawn(9, count, sizes[1]), *kernels]

    return Case(mlp_loss, params, data, grid, grid, floor, points, marks)


def cnn_case(samples, grid, points, marks):
    draw = np.random.default_rng(0)
    shapes = [(3, 3, 1, 16), (3, 3, 16, 32), (1568, 10)]
    params = [(drawn(n, *shape), 0.1 * drawn(n + 50, shape[-1])) for n, shape in enumerate(shapes)]
    data = draw.normal(size=(samples, 28, 28, 1)).astype(np.float32), draw.integers(0, 10, samples)

    def floor(count):
        return lambda hidden, *kernels: (conv(hidden, kernels[0]), kernels[1] @ kernels[2]), [
            drawn(9, count, 14, 14, 16),
            params[1][0],
            drawn(8, count, 1568),
            params[2][0],
        ]

    return Case(cnn_loss, params, data, grid, grid // 2 + 1, floor, points, marks)


CASES = {
    "mlp": lambda samples=5000: mlp_case(
        (784, 256, 256, 10), samples, 25, 12, {"PyTorch, by hand": 4.5, "loss-landscapes": 5.0, "JAX, plain": 3.0}
    ),
    "cnn": lambda samples=5000: cnn_case(
        samples,
        25,
        2,
        {"loss-landscapes": 5.5, "PyTorch, batches of 250, channels last": 1.3, "JAX, plain, batches of 250": 1.7},
    ),
    "digits": lambda samples=180: mlp_case((64, 32, 10), samples, 51, 400, {"loss-landscapes": 12.0}),
}


def plane_of(params):
    """Two directions of the parameters' own size, biases left where they are."""
    draw = np.random.default_rng(7)

    def direction(leaf):
        if leaf.ndim == 1:
            return jnp.zeros_like(leaf)
        noise = draw.normal(size=leaf.shape)
        return jnp.asarray(0.7 * noise * np.linalg.norm(leaf) / np.linalg.norm(noise), jnp.float32)

    return nv.Plane(params, tuple(jax.tree.map(direction, params) for _ in range(2)))


# --- the ways: each a function that evaluates some points and gives their numbers in the grid, and the values --


def some_points(grid, count):
    """Grid points (i, j) spread over the middle of the grid, where a loss is not astronomical."""
    span = np.linspace(grid // 4, grid - 1 - grid // 4, count).round().astype(int)
    return np.stack([span, span[::-1]], axis=1)


def ours(case, plane, axis, effort):
    cut = nv.evaluate(case.loss, plane, axis, axis, batches=[case.data], effort=effort)
    return cut.work.evaluating / len(axis) ** 2, cut


def jax_ways(case, plane, axis):
    batches = [tuple(jnp.asarray(part[n : n + 250]) for part in case.data) for n in range(0, len(case.data[0]), 250)]
    whole = tuple(map(jnp.asarray, case.data))
    one = jax.jit(lambda c, plane, batch: case.loss(nv.embed(plane, c), batch))
    mapped = jax.jit(lambda cs, plane, batch: jax.lax.map(lambda c: case.loss(nv.embed(plane, c), batch), cs))

    def where(points):
        return axis[points[:, ::-1]].astype(np.float32)

    def loop(points):
        return [float(v) for v in [one(c, plane, whole) for c in where(points)]]

    def in_map(points):
        return np.asarray(mapped(where(points), plane, whole))

    def in_batches(points):
        sizes = [len(b[1]) for b in batches]
        return [
            np.average([float(v) for v in [one(c, plane, b) for b in batches]], weights=sizes) for c in where(points)
        ]

    points = some_points(len(axis), case.points)
    ways = {"JAX, plain: loop": loop, "JAX, plain: map": in_map, "JAX, plain, batches of 250": in_batches}
    return {name: partial(timed, way, points) for name, way in ways.items()}


def timed(way, points):
    start = time.perf_counter()
    values = way(points)
    return (time.perf_counter() - start) / len(points), points, np.asarray(values, np.float64)


def torch_ways(case, plane, axis):
    import torch
    import torch.nn.functional as F  # noqa: N812

    torch.set_num_threads(THREADS)
    image = case.data[0].ndim == 4

    def leaf(array):
        array = torch.from_numpy(np.array(array))
        return array.permute(3, 2, 0, 1).contiguous() if array.ndim == 4 else array

    origin, *axes = ([leaf(x) for x in jax.tree.leaves(tree)] for tree in (plane.origin, *plane.axes))
    if image:  # the rows of the last kernel follow channels first here
        for tree in (origin, *axes):
            tree[4] = tree[4].reshape(7, 7, 32, 10).permute(2, 0, 1, 3).reshape(1568, 10).contiguous()
    inputs = torch.from_numpy(case.data[0].transpose(0, 3, 1, 2).copy() if image else case.data[0])
    labels = torch.from_numpy(case.data[1])

    def forward(params, x):
        layers = list(zip(params[::2], params[1::2], strict=True))
        for kernel, bias in layers[:-1]:
            x = F.max_pool2d(F.relu(F.conv2d(x, kernel, bias, padding=1)), 2) if image else F.relu(x @ kernel + bias)
        return x.flatten(1) @ layers[-1][0] + layers[-1][1]

    def at(point, like=origin):
        a, b = axis[point[1]], axis[point[0]]
        return [o + a * u + b * v for o, u, v in zip(like, *axes, strict=True)]

    @torch.no_grad()
    def by_hand(points):
        return [F.cross_entropy(forward(at(p), inputs), labels).item() for p in points]

    @torch.no_grad()
    def in_batches(points):
        values = []
        for p in points:
            params = [w.contiguous(memory_format=torch.channels_last) if w.ndim == 4 else w for w in at(p)]
            sums = [F.cross_entropy(forward(params, x), y, reduction="sum") for x, y in pieces]
            values.append(sum(s.item() for s in sums) / len(labels))
        return values

    @torch.no_grad()
    def by_vmap(points):
        stacked = [torch.stack(leaves) for leaves in zip(*(at(p) for p in points), strict=True)]
        function = torch.func.vmap(lambda params: F.cross_entropy(forward(params, inputs), labels), chunk_size=8)
        return function(stacked).numpy()

    form = torch.channels_last if image else torch.contiguous_format
    pieces = [(x.contiguous(memory_format=form), y) for x, y in zip(inputs.split(250), labels.split(250), strict=True)]
    name = "PyTorch, batches of 250, channels last" if image else "PyTorch, batches of 250"
    points = some_points(len(axis), case.points)
    ways = {"PyTorch, by hand": by_hand, name: in_batches, "torch.func vmap": by_vmap}
    found = {name: partial(timed, way, points) for name, way in ways.items()}
    if PACKAGE:
        found["loss-landscapes"] = package_way(case, axis, origin, axes, forward, inputs, labels)
    return found


def package_way(case, axis, origin, axes, forward, inputs, labels):
    """loss_landscapes.planar_interpolation from the middle of the grid outwards, by the grid's own step."""
    import loss_landscapes
    import torch
    from loss_landscapes.metrics import Loss

    class Model(torch.nn.Module):
        def __init__(self, params):
            super().__init__()
            self.params = torch.nn.ParameterList([torch.nn.Parameter(p.clone(), requires_grad=False) for p in params])

        def forward(self, x):
            return forward(list(self.params), x)

    steps = max(2, round(case.points**0.5))
    reach = steps * (axis[1] - axis[0])
    metric = Loss(torch.nn.functional.cross_entropy, inputs, labels)
    middle = len(axis) // 2
    # Its first axis is the row; every second row is shifted by a step, and where it was evaluated is what counts.
    places = np.array([[(middle + i, middle + j + (i % 2 == 0)) for j in range(steps)] for i in range(steps)])

    @torch.no_grad()
    def run():
        ends = [Model([o + reach * d for o, d in zip(origin, along, strict=True)]) for along in axes[::-1]]
        start_model = Model(origin)
        start = time.perf_counter()
        values = loss_landscapes.planar_interpolation(start_model, *ends, metric, steps=steps)
        return (time.perf_counter() - start) / steps**2, places.reshape(-1, 2), values.reshape(-1)

    return run


# --- what is printed -----------------------------------------------------------------------------------------


def compare(name, case, rounds, budget):
    plane = plane_of(case.params)
    axis = np.linspace(-1, 1, case.grid)
    cut = nv.evaluate(case.loss, plane, axis, axis, batches=[case.data], effort=nv.Effort(budget=budget))
    plan = cut.work.plan
    effort = nv.Effort(budget, plan.samples, plan.points, plan.way, plan.linear)
    print(f"\n{name}: {len(case.data[0]):,} inputs, {case.grid} x {case.grid} points; {plan}")
    print(f"  measuring and compiling {cut.work.choosing:.2f} s, evaluating {cut.work.evaluating:.2f} s")
    axis = np.linspace(-1, 1, case.again)
    ways = jax_ways(case, plane, axis) | (torch_ways(case, plane, axis) if TORCH else {})
    floor = floor_way(case, plan)
    for way in (*ways.values(), floor):  # warm
        way()
    times = {way: [] for way in ("nagviz", "floor", *ways)}
    apart = dict.fromkeys(ways, 0.0)
    for _ in range(rounds):
        seconds, cut = ours(case, plane, axis, effort)
        times["nagviz"].append(seconds)
        times["floor"].append(floor())
        for way, run in ways.items():
            seconds, places, values = run()
            times[way].append(seconds)
            mine = cut.values[places[:, 0], places[:, 1]]
            apart[way] = max(apart[way], float(np.max(np.abs(mine / values - 1))))
    times["JAX, plain"] = [min(pair) for pair in zip(times["JAX, plain: loop"], times["JAX, plain: map"], strict=True)]
    for way, taken in times.items():
        ratios = [theirs / mine for theirs, mine in zip(taken, times["nagviz"], strict=True)]
        ratio = statistics.median(ratios)
        met = "met" if ratio >= case.marks.get(way, 0) else "missed"
        mark = f"   mark {case.marks[way]} {met}" if way in case.marks else ""
        if way == "nagviz":
            above = [mine - least for mine, least in zip(taken, times["floor"], strict=True)]
            mark = f"   {statistics.median(above) * 1e3:.4f} ms above the floor"
        difference = f"   differs by {apart[way]:.1e}" if way in apart else ""
        print(
            f"  {way:40s} {statistics.median(taken) * 1e3:10.4f} ms   {ratio:7.2f}x{mark}{difference}",
            flush=True,
        )
    return effort


def floor_way(case, plan):
    """Seconds of the matmuls that no way of this kind can spare, on pieces as the plan has them."""
    total = len(case.data[0])
    pieces = -(-total // (plan.samples or total))
    function, arguments = case.floor(-(-total // pieces))
    compiled = jax.jit(function)

    def run():
        start = time.perf_counter()
        for _ in range(pieces):
            out = compiled(*arguments)
        jax.block_until_ready(out)
        return time.perf_counter() - start

    return run


def exponents(name, effort, grid):
    """How the seconds grow with points and with samples: slopes of straight lines in logarithms."""
    for what, counts, cases in (
        ("points", [n * n for n in grid], [(CASES[name](), n) for n in grid]),
        (
            "data",
            [s * len(CASES[name]().data[0]) for s in (1, 2, 4)],
            [(CASES[name](s * len(CASES[name]().data[0])), grid[0]) for s in (1, 2, 4)],
        ),
    ):
        seconds = []
        for case, n in cases:
            plane, axis = plane_of(case.params), np.linspace(-1, 1, n)
            seconds.append(min(ours(case, plane, axis, effort)[0] * n * n for _ in range(2)))
        slope = np.polyfit(np.log(counts), np.log(seconds), 1)[0]
        print(
            f"  cost grows with {what} to the power {slope:.3f} ({', '.join(f'{s:.3f} s' for s in seconds)})",
            flush=True,
        )


def peak(case, budget):
    """Bytes that an evaluation added to this process at its highest, on Linux."""
    status, clear = Path("/proc/self/status"), Path("/proc/self/clear_refs")
    if not clear.exists():
        return None

    def kilobytes(key):
        return next(int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith(key))

    plane, axis = plane_of(case.params), np.linspace(-1, 1, 5)
    clear.write_text("5")
    before = kilobytes("VmRSS")
    cut = nv.evaluate(case.loss, plane, axis, axis, batches=[case.data], effort=nv.Effort(budget=budget))
    return 1024 * (kilobytes("VmHWM") - before), cut.work


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="", help="cases whose name contains this")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--budget", type=float, default=2**30)
    parser.add_argument("--no-growth", action="store_true", help="leave out the exponents and the memory")
    options = parser.parse_args()
    found = ["torch"] * TORCH + ["loss-landscapes"] * PACKAGE
    print(f"jax {jax.__version__}, {THREADS} threads, beside it: {', '.join(found) or 'nothing'}")
    for name, make in CASES.items():
        if options.only not in name:
            continue
        effort = compare(name, make(), options.rounds, int(options.budget))
        if not options.no_growth:
            exponents(name, effort, {"mlp": (11, 16, 23), "cnn": (8, 12, 16), "digits": (51, 72, 102)}[name])
            if (seen := peak(make(), int(options.budget))) is not None:
                print(
                    f"  peak memory {seen[0] / 1e6:.0f} MB of a budget of {options.budget / 1e6:.0f} MB, "
                    f"compiling included; reckoned {seen[1].bytes / 1e6:.0f} MB"
                )


if __name__ == "__main__":
    main()
