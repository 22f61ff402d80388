"""Optimizers in Optax's style, each a short chain that ends in the look-ahead."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import optax

from nagviz.optim.coefficients import Coefficient, require
from nagviz.optim.lookahead import nesterov_lookahead


def nag(
    learning_rate: optax.ScalarOrSchedule,
    momentum: Coefficient = 0.9,
    *,
    accumulator_dtype: jax.typing.DTypeLike | None = None,
) -> optax.GradientTransformationExtraArgs:
    """Nesterov's accelerated gradient.

        x_{t+1} = y_t - lr_t grad f(y_t)
        y_{t+1} = x_{t+1} + mu_t (x_{t+1} - x_t)

    `params` is the look-ahead y; `iterate(state, params)` is x. With constant learning rate and momentum
    the updates equal those of `optax.sgd(learning_rate, momentum, nesterov=True)`; under schedules they
    differ, and these are the textbook's: the velocity is kept in units of the parameters, so a drop of the
    learning rate does not shrink it.

    Args:
        learning_rate: lr, a float or a function of the number of calls.
        momentum: mu in [0, 1], a float or a function of the age (the number of calls, as an integer array).
        accumulator_dtype: see `nesterov_lookahead`.

    Returns:
        An optimizer with one buffer of the size of the parameters.

    Raises:
        ValueError: the momentum is a number outside [0, 1], or the learning rate one that is negative or
            not finite.

    Example:
        >>> import jax, jax.numpy as jnp, optax, nagviz as nv
        >>> curvature = jnp.array([1.0, 100.0])
        >>> loss = lambda w: jnp.sum(curvature * w**2) / 2
        >>> optimizer = nv.nag(1 / 100, momentum=9 / 11)  # mu = (sqrt k - 1)/(sqrt k + 1)
        >>> params = jnp.array([1.0, 1.0])
        >>> state = optimizer.init(params)
        >>> for _ in range(100):
        ...     updates, state = optimizer.update(jax.grad(loss)(params), state, params)
        ...     params = optax.apply_updates(params, updates)
        >>> print(f"{loss(nv.iterate(state, params)):.1e}")
        4.3e-08

    Source: Nesterov (1983); Nesterov (2004), section 2.2.
    """
    require("momentum", momentum, lambda m: 0 <= m <= 1, "from 0 to 1")
    require("learning_rate", learning_rate, lambda r: 0 <= r < float("inf"), "finite and not negative")
    return optax.chain(
        optax.scale_by_learning_rate(_widely_counted(learning_rate)),
        nesterov_lookahead(momentum, accumulator_dtype=accumulator_dtype),
    )


def _widely_counted(learning_rate: optax.ScalarOrSchedule) -> optax.ScalarOrSchedule:
    """The schedule on a count as wide as JAX is set to: int32 / int is a float32 even under x64."""
    if not callable(learning_rate):
        return learning_rate
    return lambda count: learning_rate(jnp.asarray(count, int))
