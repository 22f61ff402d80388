"""When to forget the velocity: adaptive restart of the look-ahead.

With d_t the step that arrives and v_{t+1} = x_{t+1} - x_t the velocity that it leads to, a rule says after each
step whether to restart. A restart sets the displacement to 0, so that y = x, and the method's age to 0; the
count of a learning-rate schedule goes on. The step that set the rule off is kept (y_{t+1} = x_{t+1}), or
rejected (y_{t+1} = x_t).

A momentum scheduled by `optax.inject_hyperparams` follows that wrapper's own count, which no restart can reset;
give the schedule to the optimizer itself instead.

Source: O'Donoghue and Candes (2015); Su, Boyd, Candes (2016).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from nagviz.optim.coefficients import require


class Step(NamedTuple):
    """What a rule may look at."""

    age: jax.Array  # (), steps since the start or the last restart, before this one
    update: optax.Updates  # d_t
    velocity: optax.Updates  # v_{t+1} = x_{t+1} - x_t
    value: jax.Array | None  # the loss at y_t, where the caller gives it
    memory: jax.Array  # (), what the rule left at the last step


class Restart(NamedTuple):
    """A rule for restarting.

    Example:
        >>> import nagviz as nv
        >>> hourly = nv.Restart(0.0, lambda step: (step.age >= 59, step.memory))
        >>> optimizer = nv.nag(0.1, nv.friction(3), restart=hourly)
    """

    memory: float  # at the start
    judge: Callable[[Step], tuple[jax.Array, jax.Array]]  # whether to restart, and what to remember
    reject: bool = False  # whether the step is undone (y = x_t) rather than kept (y = x_{t+1})


def gradient_restart(reject: bool = False) -> Restart:
    """Restart when the velocity points uphill: <d_t, v_{t+1}> < 0.

    It needs nothing but the steps themselves, and stays right behind a proximal step.

    Args:
        reject: undo the step instead of keeping it.

    Example:
        >>> import nagviz as nv
        >>> optimizer = nv.nag(0.1, nv.friction(3), restart=nv.gradient_restart())

    Source: O'Donoghue and Candes (2015), section 3.2.
    """
    return Restart(0.0, lambda step: (inner(step.update, step.velocity) < 0, step.memory), reject)


def function_restart(reject: bool = False) -> Restart:
    """Restart when the loss rises, judged at the look-ahead points, where it is known.

    Give the loss to the update: `optimizer.update(gradient, state, params, value=loss)`.

    Args:
        reject: undo the step instead of keeping it.

    Raises:
        ValueError: by the update, when it is not given `value`.

    Example:
        >>> import nagviz as nv
        >>> optimizer = nv.nag(0.1, nv.friction(3), restart=nv.function_restart())

    Source: O'Donoghue and Candes (2015), section 3.2.
    """

    def judge(step):
        if step.value is None:
            raise ValueError(
                "value must be given to update when function_restart is used, got none; call "
                "optimizer.update(gradient, state, params, value=loss)"
            )
        return step.value > step.memory, jnp.asarray(step.value, step.memory.dtype)

    return Restart(float("inf"), judge, reject)


def speed_restart(min_age: int = 10, *, reject: bool = False) -> Restart:
    """Restart when the iterate slows down: |v_{t+1}| < |v_t| at an age of `min_age` or more.

    Args:
        min_age: the least age to restart at; without it the rule would fire at the second step each time.
        reject: undo the step instead of keeping it.

    Raises:
        ValueError: min_age is below 1.

    Example:
        >>> import nagviz as nv
        >>> optimizer = nv.nag(0.1, nv.friction(3), restart=nv.speed_restart())

    Source: Su, Boyd, Candes (2016), section 5.
    """
    require("min_age", min_age, lambda age: age >= 1, "at least 1")

    def judge(step):
        speed = jnp.sqrt(inner(step.velocity, step.velocity)).astype(step.memory.dtype)
        return (speed < step.memory) & (step.age >= min_age), speed

    return Restart(0.0, judge, reject)


def periodic_restart(period: int, *, reject: bool = False) -> Restart:
    """Restart after every `period` steps.

    Args:
        period: at least 1, or 2 where the step is rejected.
        reject: undo the step instead of keeping it.

    Raises:
        ValueError: the period is too short.

    Example:
        >>> import nagviz as nv
        >>> optimizer = nv.nag(0.1, nv.friction(3), restart=nv.periodic_restart(100))

    Source: Nesterov (2013), section 5.1.
    """
    shortest = 2 if reject else 1
    require("period", period, lambda steps: steps >= shortest, f"at least {shortest}")
    return Restart(0.0, lambda step: (step.age + 1 >= period, step.memory), reject)


def inner(a: optax.Updates, b: optax.Updates) -> jax.Array:
    """The real part of the inner product over a whole tree, in float32 or wider."""
    parts = [_inner(*pair) for pair in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)]
    return sum(parts, start=jnp.zeros(()))


def _inner(a: jax.Array, b: jax.Array) -> jax.Array:
    wide = jnp.promote_types(jnp.promote_types(a.dtype, b.dtype), jnp.float32)
    products = jnp.real(jnp.conj(a.astype(wide)) * b.astype(wide))
    if any(jax.typeof(products).sharding.spec):
        return jnp.sum(products)
    return jax.lax.platform_dependent(products, cpu=_folded_sum, default=jnp.sum)


def _folded_sum(products: jax.Array) -> jax.Array:
    """The sum by folding eight parts upon one another, again and again.

    XLA's reductions on the CPU add one number after another on one thread; sums of a few slices it runs
    vectorised on all threads, at half the time for 40M numbers. More than eight at a time is slower again.
    """
    rest = []
    flat = products.reshape(-1)
    while flat.size >= 4096:
        part = flat.size // 8
        rest.append(flat[8 * part :])
        flat = sum(flat[i * part : (i + 1) * part] for i in range(8))
    return jnp.sum(jnp.concatenate([flat, *rest]))
