"""Is a look-ahead step as fast as Optax's own Nesterov? Both in turn, in one process.

    python experiments/benchmarks/step_time.py [--parameters 40_000_000] [--pairs 11] [--only nag]

Prints the median time of a step (update and apply_updates, jitted, buffers donated), the ratio of nagviz to
`optax.sgd(nesterov=True)` pair by pair, and the temporary memory that the compiler set aside.
"""

import argparse
import statistics
import time

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
    "nag, gradient_restart": lambda: nv.nag(1e-3, 0.9, restart=nv.gradient_restart()),
    "nag, speed_restart": lambda: nv.nag(1e-3, 0.9, restart=nv.speed_restart()),
    "nag, periodic_restart": lambda: nv.nag(1e-3, 0.9, restart=nv.periodic_restart(100)),
}


def compile_step(optimizer, params):
    """The compiled step, params and state donated, and its state."""

    def step(params, state, gradient):
        updates, state = optimizer.update(gradient, state, params)
        return optax.apply_updates(params, updates), state

    state = jax.jit(optimizer.init)(params)
    return jax.jit(step, donate_argnums=(0, 1)).lower(params, state, params).compile(), state


def seconds(step, params, state, gradient, repeats):
    """Seconds of one step, params and state, each blocked until ready."""
    jax.block_until_ready((params, state, gradient))
    start = time.perf_counter()
    for _ in range(repeats):
        params, state = step(params, state, gradient)
    jax.block_until_ready((params, state))
    return (time.perf_counter() - start) / repeats, params, state


def measure(make, leaves, size, pairs, repeats):
    """Seconds of a step of an optimizer and of the reference, in turn, and the optimizer's temporary bytes."""
    gradient = [jnp.full((size,), 1e-3) for _ in range(leaves)]
    runs = []
    for optimizer in (make(), OPTIMIZERS[REFERENCE]()):
        params = [jnp.ones((size,)) for _ in range(leaves)]
        step, state = compile_step(optimizer, params)
        runs.append([step, params, state])
    taken = []
    for pair in range(pairs + 1):
        times = [0.0, 0.0]
        for i in (0, 1) if pair % 2 else (1, 0):  # whoever goes first finds the caches otherwise
            times[i], runs[i][1], runs[i][2] = seconds(*runs[i], gradient, repeats)
        taken.append(times)
    return taken[1:], runs[0][0].memory_analysis().temp_size_in_bytes  # the first is a warm-up


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
                f"  {name:26s} {statistics.median(ours for ours, _ in times) * 1e3:7.2f}   "
                f"{statistics.median(ratios):.3f} (quartiles {ratios[quarter]:.3f} to {ratios[-1 - quarter]:.3f})   "
                f"temporary {temporary / 1e6:.1f} MB",
                flush=True,
            )


if __name__ == "__main__":
    main()
