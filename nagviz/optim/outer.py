"""The look-ahead around every K steps of any optimizer.

The slow point y stays where it is while an inner optimizer takes K fast steps from it; their sum is one outer step
d = lr (fast - y), to which the look-ahead is applied, and from the new y the next K fast steps start.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import export

from nagviz.optim.coefficients import Coefficient, Scalar, require
from nagviz.optim.lookahead import LookaheadState, nesterov_lookahead


class OuterState(NamedTuple):
    """What the outer look-ahead remembers."""

    slow: optax.Params  # y, where the last outer step ended
    fast_steps: jax.Array  # (), int32: inner steps taken from there
    outer: LookaheadState
    inner: optax.OptState  # of the inner optimizer, which goes on over outer steps


export.register_namedtuple_serialization(OuterState, serialized_name="nagviz.OuterState")


def outer_nesterov(
    optimizer: optax.GradientTransformation,
    steps: int,
    learning_rate: Scalar = 0.7,
    momentum: Coefficient = 0.9,
) -> optax.GradientTransformationExtraArgs:
    """Nesterov's look-ahead around every `steps` steps of an optimizer (DiLoCo, SNOO).

        fast_{j+1} = fast_j + (inner step at fast_j),   j = 0 ... K - 1, from fast_0 = y
        x_{t+1} = y_t + lr (fast_K - y_t)
        y_{t+1} = x_{t+1} + mu (x_{t+1} - x_t)

    Between outer steps `params` is the fast point; after each K-th call it is y. `iterate` then reads x; the
    point to deploy is y itself, or x.

    Args:
        optimizer: the inner optimizer; one without a look-ahead of its own, or there is no one iterate to read.
        steps: K, at least 1.
        learning_rate: the outer lr; 1 takes the inner steps whole.
        momentum: the outer mu in [0, 1], a float or a function of the number of outer steps.

    Returns:
        An optimizer with two buffers besides the inner one's.

    Raises:
        ValueError: a number out of range; by the update, when it is not given `params`.

    Example:
        >>> import jax.numpy as jnp, optax, nagviz as nv
        >>> optimizer = nv.outer_nesterov(optax.sgd(0.1), steps=2, learning_rate=0.5, momentum=0.5)
        >>> params = jnp.array(0.0)
        >>> state = optimizer.init(params)
        >>> for _ in range(4):
        ...     updates, state = optimizer.update(jnp.array(1.0), state, params)
        ...     params = optax.apply_updates(params, updates)
        ...     print(f"{params:.3f}")
        -0.100
        -0.150
        -0.250
        -0.325

    Source: Douillard et al. (2023), DiLoCo; arXiv 2510.15830 (2025), SNOO.
    """
    require("steps", steps, lambda n: n >= 1 and n == int(n), "a whole number, at least 1")
    require("learning_rate", learning_rate, lambda rate: 0 <= rate < float("inf"), "finite and not negative")
    require("momentum", momentum, lambda m: 0 <= m <= 1, "from 0 to 1")
    fast = optax.with_extra_args_support(optimizer)
    lookahead = nesterov_lookahead(momentum)

    def init(params):
        return OuterState(
            # The sum with zero is a buffer of its own: params and state may both be donated.
            slow=jax.tree.map(lambda p: p + jnp.zeros_like(p), params),
            fast_steps=jnp.zeros((), jnp.int32),
            outer=lookahead.init(params),
            inner=fast.init(params),
        )

    def update(updates, state, params=None, **extra):
        if params is None:
            raise ValueError("params must be given to update, got none: the outer step is measured in them")
        updates, inner = fast.update(updates, state.inner, params, **extra)
        moved = optax.apply_updates(params, updates)
        done = (state.fast_steps + 1) % steps

        def outer_step(_):
            step = jax.tree.map(lambda f, y: jnp.asarray(learning_rate, f.dtype) * (f - y), moved, state.slow)
            emitted, outer = lookahead.update(step, state.outer)
            slow = optax.apply_updates(state.slow, emitted)
            return jax.tree.map(lambda new, old: (new - old).astype(old.dtype), slow, params), slow, outer

        def inner_step(_):
            return jax.tree.map(lambda u, p: u.astype(p.dtype), updates, params), state.slow, state.outer

        emitted, slow, outer = jax.lax.cond(done == 0, outer_step, inner_step, None)
        return emitted, OuterState(slow, done, outer, inner)

    return optax.GradientTransformationExtraArgs(init, update)
