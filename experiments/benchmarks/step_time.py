"""Is a look-ahead step as fast as Optax's own Nesterov? Both in turn, in one process.

    python experiments/benchmarks/step_time.py [--parameters 40_000_000] [--pairs 11] [--only nag]

Prints the median time of a step (update and apply_updates, jitted, buffers donated), the ratio of nagviz to
`optax.sgd(nesterov=True)` pair by pair, and the temporary memory that the compiler set aside.
"""

import argparse
import statistics
import time
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

import nagviz as nv

REFERENCE = "optax.sgd(nesterov=True)"
OPTIMIZERS = {
    REFERENCE: lambda: optax.sgd(1e-3, 0.9, nesterov=True),
    "nag": lambda: nv.nag(1e-3, 0.9),
    "nag, fista_momentum": lambda: nv.nag(1e-3, nv.fista_momentum()),
    "heavy_ball": lambda: nv.heavy_ball(1e-3, 0.9),
    "qhm": lambda: nv.qhm(1e-3),
    "ogm": lambda: nv.ogm(1e-3),
    "triple_momentum": lambda: nv.triple_momentum(1e-3, 100.0),
    "robust_momentum": lambda: nv.robust_momentum(1e-3, 100.0, 0.95),
    "item": lambda: nv.item(1e-3, 100.0),
    "mass": lambda: nv.mass(1e-3, 1e-4),
    "agnes": lambda: nv.agnes(1e-3, 1e-4),
    "schedule_free": lambda: nv.schedule_free(1e-3),
    "primal_averaging": lambda: nv.primal_averaging(1e-3),
    "ema_nesterov": lambda: nv.ema_nesterov(1e-3),
    "outer_nesterov": lambda: nv.outer_nesterov(optax.sgd(1e-3), 10),  # with the slow point as a second buffer
    "nag, gradient_restart": lambda: nv.nag(1e-3, 0.9, restart=nv.gradient_restart()),
    "nag, speed_restart": lambda: nv.nag(1e-3, 0.9, restart=nv.speed_restart()),
    "nag, function_restart": lambda: nv.nag(1e-3, 0.9, restart=nv.function_restart()),
    "nag, gradient_restart, reject": lambda: nv.nag(1e-3, 0.9, restart=nv.gradient_restart(reject=True)),
    "nag, periodic_restart": lambda: nv.nag(1e-3, 0.9, restart=nv.periodic_restart(100)),
}


class Compiled(NamedTuple):
    """A step with params and state donated, and what makes its first state."""

    step: Any
    init: Any


def compiled(optimizer, leaves, size):
    optimizer = optax.with_extra_args_support(optimizer)

    def step(params, state, gradient):
        updates, state = optimizer.update(gradient, state, params, value=1.0)
        return optax.apply_updates(params, updates), state

    params = [jax.ShapeDtypeStruct((size,), jnp.float32)] * leaves
    state = jax.eval_shape(optimizer.init, params)
    return Compiled(
        jax.jit(step, donate_argnums=(0, 1)).lower(params, state, params).compile(), jax.jit(optimizer.init)
    )


def start(made, leaves, size):
    params = [jnp.ones((size,)) for _ in range(leaves)]
    return params, made.init(params)


def seconds(step, params, state, gradient, repeats):
    """Seconds of one step, params and state, each blocked until ready."""
    jax.block_until_ready((params, state, gradient))
    start = time.perf_counter()
    for _ in range(repeats):
        params, state = step(params, state, gradient)
    jax.block_until_ready((params, state))
    return (time.perf_counter() - start) / repeats, params, state


def measure(make, leaves, size, pairs, repeats):
    """Seconds of a step of an optimizer and of the reference, in turn, and the optimizer's temporary bytes.

    Whoever's buffers are made first, and whoever goes first, finds the memory otherwise: both take turns in both.
    """
    made = compiled(make(), leaves, size), compiled(OPTIMIZERS[REFERENCE](), leaves, size)
    gradient, taken = [jnp.full((size,), 1e-3) for _ in range(leaves)], []
    for order in ((0, 1), (1, 0)):
        runs = {i: [made[i], *start(made[i], leaves, size)] for i in order}
        for pair in range(pairs // 2 + 1):
            times = [0.0, 0.0]
            for i in (0, 1) if pair % 2 else (1, 0):
                times[i], runs[i][1], runs[i][2] = seconds(runs[i][0].step, *runs[i][1:], gradient, repeats)
            if pair:  # the first is a warm-up
                taken.append(times)
        del runs
    return taken, made[0].step.memory_analysis().temp_size_in_bytes


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--parameters", type=int, default=40_000_000)
    parser.add_argument("--pairs", type=int, default=12)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--only", default="", help="names that contain this")
    options = parser.parse_args()
    print(f"jax {jax.__version__}, optax {optax.__version__}, {jax.devices()[0].platform}")
    for leaves in (1, 400):
        size = options.parameters // leaves
        print(f"\n{leaves} leaves of {size:,} float32: median ms, and the ratio to {REFERENCE} pair by pair")
        for name, make in OPTIMIZERS.items():
            if options.only not in name:
                continue
            times, temporary = measure(make, leaves, size, options.pairs, options.repeats)
            ratios = sorted(ours / theirs for ours, theirs in times)
            quarter = len(ratios) // 4
            print(
                f"  {name:30s} {statistics.median(ours for ours, _ in times) * 1e3:7.2f}   "
                f"{statistics.median(ratios):.3f} (quartiles {ratios[quarter]:.3f} to {ratios[-1 - quarter]:.3f})   "
                f"temporary {temporary / 1e6:.1f} MB",
                flush=True,
            )


if __name__ == "__main__":
    main()
