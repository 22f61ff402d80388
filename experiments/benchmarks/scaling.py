"""How does a slice scale, and what would a large one cost? Writes plan.md beside this file.

    python experiments/benchmarks/scaling.py [--out plan.md] [--for cpu | v5e]

Measured here: points per second against devices (forced ones of the CPU, which share its cores), points, inputs and
parameters; how many models are held at a time. Reckoned from that and from what the compiler counts: a slice and the
training of a model of a billion parameters on named accelerators. With libtpu installed (the extra `tpu`) `--for v5e`
has the TPU's own compiler count.
"""

import argparse
import json
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

import nagviz as nv
from nagviz.experiment import training
from nagviz.landscape.surface import Question, ask
from nagviz.landscape.sweep import Plan, programs

# --- measured: a multilayer perceptron -----------------------------------------------------------------------


class Size(NamedTuple):
    """What is cut: one of the numbers is changed at a time."""

    devices: int = 1
    grid: int = 21  # points on each side
    inputs: int = 500  # samples
    hidden: int = 256  # units of both hidden layers

    @property
    def parameters(self):
        return sum(a * b for a, b in zip(self.widths, self.widths[1:], strict=False))

    @property
    def widths(self):
        return 784, self.hidden, self.hidden, 10


def mlp_loss(kernels, batch):
    hidden = batch["x"]
    for kernel in kernels[:-1]:
        hidden = jax.nn.relu(hidden @ kernel)
    return -jnp.mean(jax.nn.log_softmax(hidden @ kernels[-1])[:, 0])


def points_per_second(size):
    """The better of two slices, each compiled beforehand."""
    draw, shapes = np.random.default_rng(0), list(zip(size.widths, size.widths[1:], strict=False))
    points = [[(draw.normal(size=s) / s[0] ** 0.5).astype(np.float32) for s in shapes] for _ in range(3)]
    axis, batch = np.linspace(-1, 1, size.grid), {"x": draw.normal(size=(size.inputs, 784)).astype(np.float32)}
    mesh = jax.make_mesh((size.devices,), ("grid",), axis_types=(jax.sharding.AxisType.Auto,))
    cut = partial(nv.evaluate, mlp_loss, nv.Plane(points[0], tuple(points[1:])), axis, axis, batches=[batch], mesh=mesh)
    effort = nv.Effort(samples=250, points=16, way="map", linear=True)
    return size.grid**2 / min(cut(effort=effort).work.evaluating for _ in range(2))


def on_devices(size):
    """The same in a process that has as many devices."""
    flags = {"XLA_FLAGS": f"--xla_force_host_platform_device_count={size.devices}", "JAX_PLATFORMS": "cpu"}
    asked = [sys.executable, __file__, "--measure", json.dumps(size)]
    done = subprocess.run(asked, env=os.environ | flags, capture_output=True, text=True, check=True)
    return float(done.stdout)


SERIES = {
    "devices": [Size(devices=n) for n in (1, 2, 4)],
    "grid": [Size(grid=n) for n in (11, 21, 41)],
    "inputs": [Size(inputs=n) for n in (250, 500, 1000, 2000)],
    "parameters": [Size(hidden=n) for n in (64, 128, 256, 512)],
}


def measured():
    """Tables of points per second, by what is changed."""
    for field, sizes in SERIES.items():
        name = "points on a side" if field == "grid" else field
        rates = [on_devices(size) for size in sizes]
        rows = zip(sizes, rates, strict=True)
        yield table(
            f"{name}|points/s|of the first",
            [[f"{getattr(size, field):,}", f"{rate:,.0f}", f"{rate / rates[0]:.3f}"] for size, rate in rows],
        )


def most_held(work, one):
    """Bytes of all arrays of jax that live at a time while work is done, in units of one model."""
    seen, done = [], threading.Event()

    def watch():
        while not done.wait(1e-3):
            seen.append(sum(leaf.nbytes for leaf in jax.live_arrays() if not leaf.is_deleted()))

    watcher = threading.Thread(target=watch)
    watcher.start()
    work()
    done.set()
    watcher.join()
    return max(seen) / one


def models_held():
    """By a slice and by training, of a model that is large beside its data."""
    draw, batch = np.random.default_rng(0), {"x": np.ones((4, 512), np.float32)}
    start = [jnp.asarray(draw.normal(size=(512, 512)) / 512**0.5, jnp.float32) for _ in range(6)]
    one, axis = sum(kernel.nbytes for kernel in start), np.linspace(-1, 1, 9)

    def trained():
        batches = training.Batches({"x": jnp.asarray(batch["x"])}, 4, 0)
        plan = {"steps": 60, "snapshots": range(10, 61, 10), "chunk": 10, "batches": batches, "observe": nv.iterate}
        for _ in training.train(mlp_loss, start, nv.nag(1e-2), **plan):
            pass

    training_holds, plane = most_held(trained, one), nv.random_plane(start, 0)
    return most_held(lambda: nv.evaluate(mlp_loss, plane, axis, axis, batches=[batch] * 2), one), training_holds


# --- counted: a transformer -----------------------------------------------------------------------------------

WIDTH, HEADS, LAYERS, VOCABULARY, SEQUENCES, LENGTH = 2048, 16, 19, 32768, 4, 1024
TOKENS = SEQUENCES * LENGTH  # of a batch: what goes through the model with one reading of its parameters
BATCHES = 16  # of a slice


def transformer(layers):
    """Parameters of so many layers, shapes alone."""
    shape = partial(jax.ShapeDtypeStruct, dtype=jnp.bfloat16)
    layer = {"qkv": (WIDTH, 3 * WIDTH), "out": (WIDTH, WIDTH), "up": (WIDTH, 4 * WIDTH), "down": (4 * WIDTH, WIDTH)}
    each = {name: shape(sizes) for name, sizes in layer.items()}
    return {"embedding": shape((VOCABULARY, WIDTH)), "layers": [each] * layers}


PARAMETERS = sum(leaf.size for leaf in jax.tree.leaves(transformer(LAYERS)))


def normed(x):
    wide = x.astype(jnp.float32)
    return (wide * jax.lax.rsqrt(jnp.mean(wide**2, -1, keepdims=True) + 1e-6)).astype(x.dtype)


def layer_of(x, p):
    q, k, v = (part.reshape(*x.shape[:2], HEADS, -1) for part in jnp.split(normed(x) @ p["qkv"], 3, -1))
    mixed = jax.nn.dot_product_attention(q, k, v, is_causal=True).reshape(x.shape)
    x = x + mixed @ p["out"]
    return x + jax.nn.gelu(normed(x) @ p["up"]) @ p["down"]


def transformer_loss(params, batch):
    tokens, half = batch["tokens"], jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16), params)
    x = half["embedding"][tokens[:, :-1]]
    for p in half["layers"]:
        x = layer_of(x, p)
    logits = (normed(x) @ half["embedding"].T).astype(jnp.float32)
    return jnp.mean(jax.nn.logsumexp(logits, -1) - jnp.take_along_axis(logits, tokens[:, 1:, None], -1)[..., 0])


class Cost(NamedTuple):
    """What the compiler counts of one call."""

    flops: float
    bytes: float  # read and written
    room: float  # bytes that it holds at a time besides what it is given

    def __add__(self, other):
        return Cost(*(one + more for one, more in zip(self, other, strict=True)))

    def times(self, factor):
        return Cost(*(factor * one for one in self))


def counted(program, given, device):
    """The cost of a program compiled for a device, which need not be here."""
    here = jax.sharding.SingleDeviceSharding(device)
    placed = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=here), given)
    compiled = program.lower(*placed).compile()
    found, memory = compiled.cost_analysis(), compiled.memory_analysis()
    room = memory.temp_size_in_bytes + memory.output_size_in_bytes - memory.alias_size_in_bytes
    return Cost(found["flops"], found["bytes accessed"], room)


BATCH = {"tokens": jax.ShapeDtypeStruct((SEQUENCES, LENGTH + 1), jnp.int32)}


def slicing_cost(device, layers):
    """Of a point of a slice, the plane in bfloat16, on one batch: what nagviz compiles for it."""
    shapes = transformer(layers)
    origin, one, other = (
        jax.tree.map(lambda leaf, n=n: np.tile(np.arange(2) == n, leaf.size // 2).reshape(leaf.shape), shapes)
        for n in (2, 0, 1)
    )
    origin, *axes = jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16), (origin, one, other))
    batch = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), BATCH)
    asked = ask(Question({"loss": transformer_loss}, [batch]), nv.Plane(origin, tuple(axes)))
    made = programs(asked.task, BATCH, Plan(None, 1, "map", True))
    return counted(made.call, made.shapes, device)


def training_cost(device, layers):
    """Of a step of NAG on one batch, parameters and velocity in float32."""
    optimizer = optax.with_extra_args_support(nv.nag(1e-2))
    params = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, jnp.float32), transformer(layers))
    carry = jax.eval_shape(lambda p: training.begun(p, optimizer), params)
    step = training._step(transformer_loss, optimizer, on_batches=True)
    drawn = jax.ShapeDtypeStruct((SEQUENCES,), jnp.int32)
    return counted(jax.jit(step, donate_argnums=0), (carry, BATCH, drawn), device)


def whole(cost, device):
    """All layers are alike: of one and of two, all others follow."""
    with ThreadPoolExecutor(2) as pool:
        one, two = pool.map(partial(cost, device), (1, 2))
    return one + (two + one.times(-1)).times(LAYERS - 1)


# --- reckoned: named accelerators -----------------------------------------------------------------------------


class Accelerator(NamedTuple):
    """Peaks, as the source has them; not measured here."""

    flops: float  # a second, dense bfloat16
    bandwidth: float  # bytes a second, of its memory
    memory: float  # bytes
    link: float  # bytes a second, of all its links to its neighbours, both directions
    source: str


ACCELERATORS = {
    "TPU v5e": Accelerator(197e12, 819e9, 16e9, 400e9, "docs.cloud.google.com/tpu/docs/v5e"),
    "TPU v5p": Accelerator(459e12, 2765e9, 95 * 2**30, 1200e9, "docs.cloud.google.com/tpu/docs/v5p-training"),
    "A100 SXM 80 GB": Accelerator(312e12, 2039e9, 80e9, 600e9, "glennklockwood.com/garden/processors/A100"),
    "H100 SXM": Accelerator(989e12, 3350e9, 80e9, 900e9, "glennklockwood.com/garden/processors/h100; "
                            "nvidia.com/en-sg/technologies/hopper-architecture (links: both directions)"),
    "MI300X": Accelerator(1307e12, 5300e9, 192e9, 896e9, "github.com/alpharomercoma/MI300X-vs-H200; "
                          "gpu.blog/gpus/instinct-mi300x-mi300x (links)"),
}  # fmt: skip


def seconds_of(cost, chip):
    """The roofline: an estimate, for what stays on the chip costs its memory nothing."""
    return max(cost.flops / chip.flops, cost.bytes / chip.bandwidth)


def table(head, rows):
    head = head.split("|")
    lines = [head, ["--:"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def slice_rows(point, models):
    held = 2 * PARAMETERS * models + point.room
    for name, chip in ACCELERATORS.items():
        seconds = seconds_of(point, chip)
        bound = "FLOP/s" if point.flops / chip.flops > point.bytes / chip.bandwidth else "memory"
        hours = [seconds * BATCHES * grid**2 / 3600 for grid in (101, 1001)]
        yield [name, bound, f"{seconds * 1e3:.0f}", *(f"{h:,.1f}" for h in hours), chips_for(held, chip)]


def training_rows(step, models):
    held = 4 * PARAMETERS * models + step.room
    for name, chip in ACCELERATORS.items():
        seconds, shared = seconds_of(step, chip), 2 * 4 * PARAMETERS / (chip.link / 2)
        hours = 20 * PARAMETERS / TOKENS * seconds / 3600
        yield [name, f"{seconds * 1e3:.0f}", f"{shared * 1e3:.0f}", f"{hours:,.0f}", chips_for(held, chip)]


def chips_for(size, chip):
    return f"{-(-size // (0.8 * chip.memory)):.0f}"


def cost_row(name, cost):
    each = cost.flops / PARAMETERS / TOKENS
    sums = cost.flops, cost.bytes, cost.room
    return [name, *(f"{one:.3g}" for one in sums), f"{cost.flops / cost.bytes:.0f}", f"{each:.2f}"]


def chip_rows():
    for name, chip in ACCELERATORS.items():
        peaks = chip.flops / 1e12, chip.bandwidth / 1e9, chip.memory / 1e9, chip.link / 1e9
        yield [name, *(f"{peak:,.0f}" for peak in peaks), chip.source]


def plan_text(flag, target, device):
    slice_holds, training_holds = models_held()  # first, while nothing else is held
    point, step = whole(slicing_cost, device), whole(training_cost, device)
    return TEXT.format(
        flag=flag,
        jax=jax.__version__,
        cores=os.cpu_count(),
        measured="\n\n".join(measured()),
        slice_holds=f"{slice_holds:.1f}",
        training_holds=f"{training_holds:.1f}",
        model=f"{LAYERS} layers of width {WIDTH:,}, {PARAMETERS:,} parameters, in bfloat16, {TOKENS:,} tokens a batch",
        target=target,
        counted=table(
            "of a batch|FLOP|bytes read and written|bytes held at work|FLOP a byte|FLOP a token and parameter",
            [cost_row("a point of a slice", point), cost_row("a step of NAG", step)],
        ),
        chips=table("accelerator|bf16 TFLOP/s|memory GB/s|memory GB|links GB/s, both directions|source", chip_rows()),
        tokens=f"{TOKENS * BATCHES:,} tokens in {BATCHES} batches",
        rows=table(
            "accelerator|decided by|ms a point and batch|chip hours, 101 x 101|chip hours, 1001 x 1001|chips to hold",
            slice_rows(point, slice_holds),
        ),
        steps=table(
            "accelerator|ms a step|ms to share gradients|chip hours, 20 tokens a parameter|chips to hold",
            training_rows(step, training_holds),
        ),
    )


TEXT = """# What a large slice costs

Made by `python experiments/benchmarks/scaling.py --for {flag}`, jax {jax}. Nothing here ran on an accelerator.

## Measured: points per second on {cores} cores

A perceptron 784-256-256-10 in float32 on 500 inputs, 21 x 21 points, but for what is changed. The devices are forced
ones of one CPU and **share its {cores} cores**: their rows say what spreading costs, not what it gains where each
has a machine of its own.

{measured}

## Measured: models held at a time

All arrays of jax that live at a time on one device, looked at every millisecond, of a perceptron whose parameters are
large beside its data, in units of them:

    {slice_holds} by a slice: the origin and the two axes, of which the caller's own are taken
    {training_holds} by training with NAG, the iterate observed once a chunk: the start with its velocity, those of now,
        copies of both for whoever takes the last three chunks, and what was observed

What a compiled program holds while it runs is no such array, and is counted below.

## Counted: a transformer of a billion parameters

{model}.
The compiler for {target} counts, on one and on two layers, of which the others are copies:

{counted}

What is held at work is, of a point, its parameters as far as they are needed at a time, and activations; of a step,
gradients in float32, the parameters in bfloat16, and the activations of all layers, none of which is worked out again.

## Reckoned: named accelerators

{chips}

Peaks, as the vendors state them and these sources quote them; not checked here. For the time there is an estimate:

    seconds of a point and batch, or of a step = max(FLOP / peak FLOP/s, bytes / peak bytes/s)

Its first part is a bound: no chip carries out the FLOP of this program faster, and a real one takes longer. Its second
part is none: the bytes are those that go between the parts of the program as the compiler above fuses them, taken for
all accelerators, though each has a compiler of its own and some of the bytes stay on the chip. Where memory decides,
the time may be less or more. Points need nothing of one another, and any number of chips share them evenly:

    hours of a slice = seconds x batches x points / 3600 / chips

A slice over {tokens}. The chips to hold it are those whose memory, 80% of it,
holds the {slice_holds} models in bfloat16 and what is held at work, all of it split evenly over them. What
these tell one another is not counted.

{rows}

Training on 20 tokens a parameter (Hoffmann et al. 2022), likewise; the {training_holds} models are in float32.
Chips that share a batch share gradients once a step: 2 x 4 bytes x parameters through half of the links, which is one
direction (a ring).

{steps}
"""


def device_for(target):
    if target == "cpu":
        return jax.devices()[0]
    from jax.experimental import topologies

    for name, value in {
        "SKIP_MDS_QUERY": "1",
        "ACCELERATOR_TYPE": "v5litepod-4",
        "WORKER_HOSTNAMES": "localhost",
    }.items():
        os.environ[f"TPU_{name}"] = value  # what libtpu would ask the machine that it is on
    return topologies.get_topology_desc(platform="tpu", topology_name="v5e:2x2").devices[0]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("plan.md"))
    parser.add_argument("--for", dest="target", choices=("cpu", "v5e"), default="cpu", help="whose compiler counts")
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        print(points_per_second(Size(*json.loads(options.measure))))
        return
    jax.config.update("jax_platforms", "cpu")
    target = {"cpu": "the CPU", "v5e": "TPU v5e (libtpu, ahead of time)"}[options.target]
    options.out.write_text(plan_text(options.target, target, device_for(options.target)), encoding="utf-8")
    print(options.out)


if __name__ == "__main__":
    main()
