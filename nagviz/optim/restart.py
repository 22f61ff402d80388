"""When to forget the velocity: adaptive restart of the look-ahead.

With d_t the step that arrives and v_{t+1} = x_{t+1} - x_t the velocity that it leads to, a rule says after each
step whether to restart. A restart sets the displacement to 0, so that y = x, and the method's age to 0; the
count of a learning-rate schedule goes on. The step that set the rule off is kept (y_{t+1} = x_{t+1}), or
rejected (y_{t+1} = x_t). Kept is what the step weight alpha takes of it: of a heavy ball's, where alpha = 0, nothing,
so that a restart stays at y_t.

A momentum scheduled by `optax.inject_hyperparams` follows that wrapper's own count, which no restart can reset;
give the schedule to the optimizer itself instead.

Source: O'Donoghue and Candes (2015); Su, Boyd, Candes (2016).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from nagviz.optim.coefficients import require


class Step(NamedTuple):
    """What a rule may look at."""

    age: jax.Array  # (), steps since the start or the last restart, before this one
    update: optax.Updates  # d_t
    displacement: optax.Updates  # s_t; the velocity v_{t+1} is s_t + alpha d_t
    step_weight: jax.Array  # (), alpha
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
    return Restart(0.0, lambda step: (_slope(step) < 0, step.memory), reject)


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
        if jnp.shape(step.value):
            raise ValueError(f"value must be a scalar, the loss at params, got the shape {jnp.shape(step.value)}")
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
    require("min_age", min_age, lambda n: n >= 1 and n == int(n), "a whole number, at least 1")

    def judge(step):
        speed = _speed(step).astype(step.memory.dtype)
        return (speed < step.memory) & (step.age >= min_age), speed

    return Restart(0.0, judge, reject)


def periodic_restart(period: int, *, reject: bool = False) -> Restart:
    """Restart after every `period` steps.

    Args:
        period: at least 1, or 2 where the step is rejected; above 1 for the heavy ball, which else never moves.
        reject: undo the step instead of keeping it.

    Raises:
        ValueError: the period is too short.

    Example:
        >>> import nagviz as nv
        >>> optimizer = nv.nag(0.1, nv.friction(3), restart=nv.periodic_restart(100))

    Source: Nesterov (2013), section 5.1.
    """
    shortest = 2 if reject else 1
    require("period", period, lambda n: n >= shortest and n == int(n), f"a whole number, at least {shortest}")
    return Restart(0.0, lambda step: (step.age + 1 >= period, step.memory), reject)


def _slope(step: Step) -> jax.Array:
    """<d_t, v_{t+1}>: negative where the velocity points uphill."""
    return _total(step, lambda d, v: jnp.real(jnp.conj(d) * v))


def _speed(step: Step) -> jax.Array:
    """|v_{t+1}|."""
    return jnp.sqrt(_total(step, lambda d, v: jnp.real(jnp.conj(v) * v)))


def _total(step: Step, of: Callable[[jax.Array, jax.Array], jax.Array]) -> jax.Array:
    """The sum over the whole tree of a product of d_t and v_{t+1}, in float32 or wider."""

    def product(d, s):
        wide = jnp.promote_types(jnp.promote_types(d.dtype, s.dtype), jnp.float32)
        d, s = d.astype(wide), s.astype(wide)
        return of(d, s + jnp.asarray(step.step_weight, jnp.finfo(wide).dtype) * d)

    @jax.jit  # traced once for leaves that are alike
    def sums(d, s):
        if d.size < _SMALL or jax.device_count() > 1:  # chains would cut across the devices
            return plain(d, s)
        return jax.lax.platform_dependent(d, s, cpu=partial(_sums_in_chains, product), default=plain)

    def plain(d, s):
        return jnp.full(_ROWS, jnp.sum(product(d, s)) / _ROWS)

    parts = [sums(d, s) for d, s in _pairs(step)]
    rows = jnp.stack([jnp.zeros(_ROWS), *parts])
    # A loop, since XLA would repeat a plain sum over many leaves in each leaf's kernel, and compile for minutes.
    return jnp.sum(jax.lax.fori_loop(0, len(rows), lambda i, total: total + rows[i], jnp.zeros_like(rows[0])))


def _pairs(step: Step) -> Iterator[tuple[jax.Array, jax.Array]]:
    """Leaves of the update and the displacement that belong together."""
    updates, displacements = (
        jax.tree.leaves(tree, is_leaf=lambda node: node is None) for tree in (step.update, step.displacement)
    )
    return ((d, s) for d, s in zip(updates, displacements, strict=True) if d is not None)


_SMALL = 4096  # numbers, under which a plain sum is as fast
_ROWS, _CHAINS = 4, 8  # rows are shared out among the threads, chains overlap in each


def _sums_in_chains(product: Callable[[jax.Array, jax.Array], jax.Array], d: jax.Array, s: jax.Array) -> jax.Array:
    """The sum of a product, several partial sums at a time.

    XLA's plain sum on the CPU has d written out first, where d is itself an expression: 160 MB anew at each step for
    40M numbers, which took three times the step. One reduction to many results reads d and s where they are.
    """
    d, s = d.reshape(-1), s.reshape(-1)
    whole = d.size - d.size % (_ROWS * _CHAINS)
    held = product(*(leaf[:whole].reshape(_ROWS, _CHAINS, -1) for leaf in (d, s)))
    chains = tuple(held[:, i] for i in range(_CHAINS))
    zeros = (jnp.zeros((), held.dtype),) * _CHAINS
    sums = jax.lax.reduce(chains, zeros, lambda one, two: tuple(a + b for a, b in zip(one, two, strict=True)), (1,))
    rest = jnp.sum(product(d[whole:], s[whole:])) / _ROWS if d.size > whole else 0.0
    return sum(sums) + rest
