"""Is a look-ahead step as fast as Optax's own Nesterov? Both in turn, in one process.

    python experiments/benchmarks/step_time.py [--parameters 40_000_000] [--pairs 15]

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

OPTIMIZERS = {
    "optax.sgd(nesterov=True)": lambda: optax.sgd(1e-3, 0.9, nesterov=True),
    "nv.nag": lambda: nv.nag(1e-3, 0.9),
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


def measure(leaves, size, pairs, repeats):
    gradient = [jnp.full((size,), 1e-3) for _ in range(leaves)]
    runs = {}
    for name, make in OPTIMIZERS.items():
        params = [jnp.ones((size,)) for _ in range(leaves)]
        step, state = compile_step(make(), params)
        runs[name] = [step, params, state]
    times = {name: [] for name in runs}
    for pair in range(pairs + 1):
        for name, run in runs.items():
            taken, run[1], run[2] = seconds(run[0], run[1], run[2], gradient, repeats)
            if pair:  # the first is a warm-up
                times[name].append(taken)
    return times, {name: run[0].memory_analysis() for name, run in runs.items()}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--parameters", type=int, default=40_000_000)
    parser.add_argument("--pairs", type=int, default=15)
    parser.add_argument("--repeats", type=int, default=4)
    options = parser.parse_args()
    print(f"jax {jax.__version__}, optax {optax.__version__}, {jax.devices()[0].platform}")
    for leaves in (1, 400):
        size = options.parameters // leaves
        times, memory = measure(leaves, size, options.pairs, options.repeats)
        print(f"\n{leaves} leaves of {size:,} float32")
        reference = times["optax.sgd(nesterov=True)"]
        for name, taken in times.items():
            ratios = sorted(a / b for a, b in zip(taken, reference, strict=True))
            quarter = len(ratios) // 4
            print(
                f"  {name:26s} {statistics.median(taken) * 1e3:8.2f} ms   "
                f"ratio {statistics.median(ratios):.3f} "
                f"(quartiles {ratios[quarter]:.3f} to {ratios[-1 - quarter]:.3f})   "
                f"temporary {memory[name].temp_size_in_bytes / 1e6:.1f} MB"
            )


if __name__ == "__main__":
    main()
