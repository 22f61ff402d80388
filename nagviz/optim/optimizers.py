"""Optimizers in Optax's style, each a short chain that ends in the look-ahead.

`params` is the point y at which the gradient is taken; `iterate(state, params)` is x, and
`evaluation_point(state, params)` the point of the method's own guarantee. In all of them d_t = -lr_t grad f(y_t),
L is the largest curvature of f, m the smallest, k = L/m and q = 1/k.
"""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
import optax

from nagviz.optim.coefficients import (
    Coefficient,
    Recurrence,
    Scalar,
    are_plain,
    least,
    next_theta,
    require,
    require_condition_number,
    root,
)
from nagviz.optim.lookahead import nesterov_lookahead
from nagviz.optim.restart import Restart

LearningRate = Scalar | optax.Schedule


def _method(learning_rate: LearningRate, momentum: Coefficient, **knobs: Any):
    """Gradient steps with a look-ahead behind them."""
    require("learning_rate", learning_rate, lambda r: 0 <= r < math.inf, "finite and not negative")
    return optax.chain(
        optax.scale_by_learning_rate(_widely_counted(learning_rate)),
        nesterov_lookahead(momentum, **knobs),
    )


def _widely_counted(learning_rate: LearningRate) -> LearningRate:
    """The schedule on a count as wide as JAX is set to: int32 / int is a float32 even under x64."""
    if not callable(learning_rate):
        return learning_rate
    return lambda count: learning_rate(jnp.asarray(count, int))


def _require_share(**values: Any) -> None:
    for name, value in values.items():
        require(name, value, lambda share: 0 <= share <= 1, "from 0 to 1")


def nag(
    learning_rate: LearningRate,
    momentum: Coefficient = 0.9,
    *,
    restart: Restart | None = None,
    accumulator_dtype: jax.typing.DTypeLike | None = None,
) -> optax.GradientTransformationExtraArgs:
    """Nesterov's accelerated gradient: alpha = 1, gamma = 0, c = -1.

        x_{t+1} = y_t - lr_t grad f(y_t)
        y_{t+1} = x_{t+1} + mu_{t+1} (x_{t+1} - x_t)

    With constant learning rate and momentum the updates equal those of
    `optax.sgd(learning_rate, momentum, nesterov=True)`; under schedules they differ, and these are the textbook's:
    the velocity is kept in units of the parameters, so that a drop of the learning rate does not shrink it.

    Guarantee, at learning rate 1/L: with `from_condition_number(k)`, f(x_t) - f* falls as (1 - 1/sqrt k)^t; with
    `fista_momentum()` or `friction(3)`, as 2 L |x_0 - x*|^2 / t^2.

    Args:
        learning_rate: lr, a float or a function of the number of calls.
        momentum: mu in [0, 1], a float or a function of the age (the calls since the start or a restart).
        restart: when to forget the velocity, such as `gradient_restart()`.
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
        >>> optimizer = nv.nag(1 / 100, nv.from_condition_number(100))
        >>> params = jnp.array([1.0, 1.0])
        >>> state = optimizer.init(params)
        >>> for _ in range(100):
        ...     updates, state = optimizer.update(jax.grad(loss)(params), state, params)
        ...     params = optax.apply_updates(params, updates)
        >>> print(f"{loss(nv.iterate(state, params)):.1e}")
        4.3e-08

    Source: Nesterov (1983); Nesterov (2004), section 2.2.
    """
    _require_share(momentum=momentum)
    return _method(learning_rate, momentum, restart=restart, accumulator_dtype=accumulator_dtype)


def heavy_ball(
    learning_rate: LearningRate,
    momentum: Coefficient = 0.9,
    *,
    restart: Restart | None = None,
    accumulator_dtype: jax.typing.DTypeLike | None = None,
) -> optax.GradientTransformationExtraArgs:
    """Polyak's heavy ball: alpha = 0, gamma = 1, c = 0.

        y_{t+1} = y_t + mu_{t+1} (y_t - y_{t-1}) - lr_t grad f(y_t)

    Guarantee: on a quadratic with lr = (2 / (sqrt L + sqrt m))^2 and mu = ((sqrt k - 1)/(sqrt k + 1))^2 it
    converges as mu^(t/2), the best rate there is; on other convex functions it may cycle.

    Args:
        learning_rate: lr, a float or a function of the number of calls.
        momentum: mu in [0, 1], a float or a function of the age.
        restart: as in `nag`.
        accumulator_dtype: as in `nag`.

    Raises:
        ValueError: a number out of range.

    Example:
        >>> import jax.numpy as jnp, nagviz as nv
        >>> optimizer = nv.heavy_ball(0.1, momentum=0.5)
        >>> state = optimizer.init(jnp.array(0.0))
        >>> for _ in range(3):
        ...     updates, state = optimizer.update(jnp.array(1.0), state)
        ...     print(f"{updates:.3f}")
        -0.100
        -0.150
        -0.175

    Source: Polyak (1964).
    """
    _require_share(momentum=momentum)
    return _method(
        learning_rate,
        momentum,
        correction=1.0,
        step_weight=0.0,
        evaluation=0.0,
        restart=restart,
        accumulator_dtype=accumulator_dtype,
    )


def qhm(
    learning_rate: LearningRate,
    nu: Scalar = 0.7,
    beta: Scalar = 0.999,
    *,
    restart: Restart | None = None,
    accumulator_dtype: jax.typing.DTypeLike | None = None,
) -> optax.GradientTransformationExtraArgs:
    """Quasi-hyperbolic momentum: alpha = 1 - nu, mu = beta, gamma = nu - beta, c = 0.

        b_{t+1} = beta b_t + (1 - beta) grad f(y_t)
        y_{t+1} = y_t - lr_t ((1 - nu) grad f(y_t) + nu b_{t+1})

    The average b is in units of the parameters here: under a scheduled learning rate it averages whole steps.

    Args:
        learning_rate: lr, a float or a function of the number of calls.
        nu: the share of the average, in [0, 1]; 0 is gradient descent.
        beta: the decay of the average, in [0, 1].
        restart: as in `nag`.
        accumulator_dtype: as in `nag`.

    Raises:
        ValueError: a number out of range.

    Example:
        >>> import jax.numpy as jnp, nagviz as nv
        >>> optimizer = nv.qhm(0.1, nu=0.5, beta=0.5)
        >>> updates, state = optimizer.update(jnp.array(1.0), optimizer.init(jnp.array(0.0)))
        >>> print(updates)
        -0.075

    Source: Ma and Yarats (2019).
    """
    _require_share(nu=nu, beta=beta)
    return _method(
        learning_rate,
        beta,
        correction=nu - beta,
        step_weight=1 - nu,
        evaluation=0.0,
        restart=restart,
        accumulator_dtype=accumulator_dtype,
    )


def ogm(
    learning_rate: LearningRate,
    horizon: int | None = None,
    *,
    restart: Restart | None = None,
    accumulator_dtype: jax.typing.DTypeLike | None = None,
) -> optax.GradientTransformationExtraArgs:
    """The optimized gradient method: alpha = 1, mu = (th_t - 1)/th_{t+1}, gamma = th_t/th_{t+1}, c = 0.

        th_0 = 1,   th_{t+1} = (1 + sqrt(1 + 4 th_t^2)) / 2,   the last th_N = (1 + sqrt(1 + 8 th_{N-1}^2)) / 2

    Guarantee, at learning rate 1/L after N = horizon steps: f(y_N) - f* <= L |x_0 - x*|^2 / (2 th_N^2), half of
    FISTA's bound; no first-order method has a better one in large dimensions.

    Args:
        learning_rate: 1/L.
        horizon: N, the number of steps after which y is taken. Past it, and without one, th's plain recursion
            goes on.
        restart: as in `nag`; with `gradient_restart()` it often beats Nesterov's method that knows k. A restart
            starts the horizon anew.
        accumulator_dtype: as in `nag`.

    Raises:
        ValueError: the horizon is below 1.

    Example:
        >>> import jax, jax.numpy as jnp, optax, nagviz as nv
        >>> optimizer, params = nv.ogm(1.0, horizon=2), jnp.array(1.0)
        >>> state = optimizer.init(params)
        >>> huber = lambda w: optax.huber_loss(w, delta=0.12378837)  # the worst function for N = 2
        >>> for _ in range(2):
        ...     updates, state = optimizer.update(jax.grad(huber)(params), state)
        ...     params = optax.apply_updates(params, updates)
        >>> print(f"{huber(params):.6f}")
        0.061894

    Source: Kim and Fessler (2016).
    """
    if horizon is not None:
        require("horizon", horizon, lambda n: n >= 1 and n == int(n), "a whole number, at least 1")

    def following(scalars):
        age, theta = scalars
        if horizon is None:
            return age + 1, next_theta(theta)
        last = age + 1 == horizon
        # (1 + sqrt(1 + 8 th^2)) / 2 at the horizon, 4 in place of 8 elsewhere.
        return age + 1, (1 + root(1 + 4 * theta**2 * (1 + last))) / 2

    return _method(
        learning_rate,
        Recurrence((0.0, 1.0), following, lambda s: (s[1] - 1) / following(s)[1]),
        correction=Recurrence((0.0, 1.0), following, lambda s: s[1] / following(s)[1]),
        evaluation=0.0,
        restart=restart,
        accumulator_dtype=accumulator_dtype,
    )


def triple_momentum(
    learning_rate: LearningRate,
    condition_number: Scalar,
    *,
    restart: Restart | None = None,
    accumulator_dtype: jax.typing.DTypeLike | None = None,
) -> optax.GradientTransformationExtraArgs:
    """The triple momentum method: alpha = 1, mu = rho^2/(2 - rho), gamma = rho, c = rho/(2(1 - rho)).

    Guarantee, at learning rate 1/L with rho = 1 - 1/sqrt k: the evaluation point converges as rho^t, and
    f - f* <= rho^(2t) L k |x_0 - x*|^2 / 2: the best rate of any method with constant coefficients.

    Args:
        learning_rate: 1/L.
        condition_number: k >= 1.
        restart: as in `nag`.
        accumulator_dtype: as in `nag`.

    Raises:
        ValueError: k is below 1.

    Example:
        >>> import jax.numpy as jnp, nagviz as nv
        >>> optimizer = nv.triple_momentum(1.0, condition_number=4)
        >>> params = jnp.array(1.0)
        >>> state = optimizer.init(params)
        >>> for _ in range(3):
        ...     updates, state = optimizer.update(params, state)  # the gradient of w**2 / 2
        ...     params += updates
        ...     print(f"{nv.evaluation_point(state, params):.3f}")
        -1.000
        0.500
        -0.250

    Source: Van Scoy, Freeman, Lynch (2018).
    """
    require_condition_number(condition_number)
    rho = 1 - 1 / root(condition_number)
    return _method(
        learning_rate,
        rho**2 / (2 - rho),
        correction=rho,
        evaluation=rho * root(condition_number) / 2,  # rho / (2 (1 - rho)), without the difference
        restart=restart,
        accumulator_dtype=accumulator_dtype,
    )


def robust_momentum(
    learning_rate: LearningRate,
    condition_number: Scalar,
    rate: Scalar,
    *,
    restart: Restart | None = None,
    accumulator_dtype: jax.typing.DTypeLike | None = None,
) -> optax.GradientTransformationExtraArgs:
    """The robust momentum method: alpha = 1, mu = k r^3/(k - 1), gamma = k (1 - r)^2 (1 + r) - 1, c = 0.

    A dial between triple momentum (r = 1 - 1/sqrt k, the fastest) and gradient descent (r = 1 - 1/k, the most
    robust against errors of the gradient that grow with it).

    Guarantee: at learning rate 1/L it converges as r^t.

    Args:
        learning_rate: 1/L.
        condition_number: k > 1.
        rate: r in [1 - 1/sqrt k, 1 - 1/k].
        restart: as in `nag`.
        accumulator_dtype: as in `nag`.

    Raises:
        ValueError: k is not above 1, or r outside its range.

    Example:
        >>> import nagviz as nv
        >>> optimizer = nv.robust_momentum(0.01, condition_number=100, rate=0.95)

    Source: Cyrus, Hu, Van Scoy, Lessard (2018).
    """
    k, r = condition_number, rate
    require_condition_number(k, above=1 + 1e-9)
    if are_plain(k, r):
        low, high = 1 - 1 / math.sqrt(k), 1 - 1 / k
        require("rate", r, lambda r: low - 1e-12 <= r <= high + 1e-12, f"from {low:.6g} to {high:.6g}")
    return _method(
        learning_rate,
        k * r**3 / (k - 1),
        correction=k * (1 - r) ** 2 * (1 + r) - 1,
        evaluation=0.0,
        restart=restart,
        accumulator_dtype=accumulator_dtype,
    )


def item(
    learning_rate: LearningRate,
    condition_number: Scalar,
    *,
    restart: Restart | None = None,
    accumulator_dtype: jax.typing.DTypeLike | None = None,
) -> optax.GradientTransformationExtraArgs:
    """The information-theoretic exact method, with coefficients that lead to those of triple momentum.

        A_0 = 0,   A_{t+1} = ((1 + q) A_t + 2 (1 + sqrt((1 + A_t)(1 + q A_t)))) / (1 - q)^2
        b_t = A_t / ((1 - q) A_{t+1}),   D_t = (1 + sqrt((1 + A_t)(1 + q A_t))) / (1 + q + q A_t)
        alpha = 1,   mu = (1 - b_{t+1})(1 - q D_t) b_t / (1 - b_t),   gamma = (1 - b_{t+1})(D_t - 1) - mu
        c = b_t / (1 - b_t)

    A stops growing at the root of the largest number of its dtype, where the coefficients are at their limit.

    Guarantee, at learning rate 1/L: |z_N - x*|^2 <= |x_0 - x*|^2 / (1 + q A_N) for the evaluation point z, which no
    first-order method can improve.

    Args:
        learning_rate: 1/L.
        condition_number: k > 1.
        restart: as in `nag`.
        accumulator_dtype: as in `nag`.

    Raises:
        ValueError: k is not above 1.

    Example:
        >>> import jax.numpy as jnp, nagviz as nv
        >>> optimizer, params = nv.item(1.0, condition_number=4), jnp.array(1.0)
        >>> updates, state = optimizer.update(params, optimizer.init(params))  # of w**2 / 2
        >>> print(f"{nv.evaluation_point(state, params + updates):.3f}")  # -1 / sqrt(1 + A_1 / 4)
        -0.600

    Source: Taylor and Drori (2023).
    """
    require_condition_number(condition_number, above=1 + 1e-9)
    q = 1 / condition_number

    def cross(A):
        # Two roots, not one: their product under one root would overflow.
        return 1 + root(1 + A) * root(1 + q * A)

    def following(A):
        largest = float(jnp.finfo(jnp.result_type(A, float)).max) ** 0.5
        return least(((1 + q) * A + 2 * cross(A)) / (1 - q) ** 2, largest)

    # 1 - b and b / (1 - b), multiplied out: b nears 1 as k grows, and 1 - b would keep few digits of a float32.
    def rest(A):
        return 2 * (q * A + cross(A)) / ((1 + q) * A + 2 * cross(A))

    def odds(A):
        return (1 - q) * A / (2 * (q * A + cross(A)))

    def mu(scalars):
        (A,) = scalars
        D = cross(A) / (1 + q + q * A)
        return rest(following(A)) * (1 - q * D) * odds(A)

    def gamma(scalars):
        (A,) = scalars
        D = cross(A) / (1 + q + q * A)
        return rest(following(A)) * (D - 1) - mu(scalars)

    def advance(scalars):
        return (following(*scalars),)

    return _method(
        learning_rate,
        Recurrence((0.0,), advance, mu),
        correction=Recurrence((0.0,), advance, gamma),
        evaluation=Recurrence((0.0,), advance, lambda s: odds(*s)),
        restart=restart,
        accumulator_dtype=accumulator_dtype,
    )


def mass(
    eta1: Scalar,
    eta2: Scalar,
    momentum: Coefficient = 0.9,
    *,
    restart: Restart | None = None,
    accumulator_dtype: jax.typing.DTypeLike | None = None,
) -> optax.GradientTransformationExtraArgs:
    """MaSS, Nesterov's method with a compensation term: alpha = 1, mu = momentum, gamma = -eta2/eta1, c = -1.

        x_{t+1} = y_t - eta1 g_t
        y_{t+1} = x_{t+1} + mu (x_{t+1} - x_t) + eta2 g_t

    Guarantee: with g a minibatch gradient of a model that can fit its data, it converges faster than stochastic
    gradient descent at the right eta1 > eta2, where Nesterov's method may diverge.

    Args:
        eta1: the learning rate.
        eta2: the compensation, at least 0.
        momentum: mu in [0, 1], a float or a function of the age.
        restart: as in `nag`.
        accumulator_dtype: as in `nag`.

    Raises:
        ValueError: a number out of range.

    Example:
        >>> import jax.numpy as jnp, nagviz as nv
        >>> optimizer = nv.mass(0.1, 0.02, momentum=0.5)
        >>> updates, _ = optimizer.update(jnp.array(1.0), optimizer.init(jnp.array(0.0)))
        >>> print(f"{updates:.2f}")  # -eta1 (1 + mu) + eta2
        -0.13

    Source: Liu and Belkin (2020).
    """
    require("eta1", eta1, lambda eta: 0 < eta < math.inf, "positive and finite")
    require("eta2", eta2, lambda eta: 0 <= eta < math.inf, "finite and not negative")
    _require_share(momentum=momentum)
    return _method(eta1, momentum, correction=-eta2 / eta1, restart=restart, accumulator_dtype=accumulator_dtype)


def agnes(
    eta: Scalar,
    alpha: Scalar,
    rho: Scalar = 0.99,
    *,
    restart: Restart | None = None,
    accumulator_dtype: jax.typing.DTypeLike | None = None,
) -> optax.GradientTransformationExtraArgs:
    """AGNES, Nesterov's method for multiplicative noise: step weight 1, mu = rho, gamma = rho (alpha/eta - 1), c = -1.

        x_{t+1} = y_t - eta g_t
        v_{t+1} = rho (v_t - g_t)
        y_{t+1} = x_{t+1} + alpha v_{t+1}

    Guarantee: it accelerates whatever the ratio of the noise to the gradient, with eta and alpha lowered as the
    noise grows. alpha = eta is Nesterov's method.

    Args:
        eta: the learning rate.
        alpha: the size of the momentum step, in units of a learning rate.
        rho: mu in [0, 1].
        restart: as in `nag`.
        accumulator_dtype: as in `nag`.

    Raises:
        ValueError: a number out of range.

    Example:
        >>> import jax.numpy as jnp, nagviz as nv
        >>> optimizer = nv.agnes(0.1, 0.01, rho=0.5)
        >>> updates, _ = optimizer.update(jnp.array(1.0), optimizer.init(jnp.array(0.0)))
        >>> print(f"{updates:.3f}")  # -eta - alpha rho
        -0.105

    Source: Gupta, Siegel, Wojtowytsch (2024).
    """
    require("eta", eta, lambda eta: 0 < eta < math.inf, "positive and finite")
    require("alpha", alpha, lambda alpha: 0 <= alpha < math.inf, "finite and not negative")
    _require_share(rho=rho)
    return _method(eta, rho, correction=rho * (alpha / eta - 1), restart=restart, accumulator_dtype=accumulator_dtype)


def schedule_free(
    learning_rate: LearningRate,
    beta: Scalar = 0.9,
    *,
    restart: Restart | None = None,
    accumulator_dtype: jax.typing.DTypeLike | None = None,
) -> optax.GradientTransformationExtraArgs:
    """Schedule-free gradient descent, with the averaging weight c_t = 1/t.

        z_{t+1} = z_t + d_t
        x_{t+1} = (1 - c_{t+1}) x_t + c_{t+1} z_{t+1}
        y_{t+1} = (1 - beta) z_{t+1} + beta x_{t+1}

    alpha = 1 - beta, mu = max(t - 1, 0)/(t + 1), gamma = beta/(t + 1) - (1 - beta) mu; the evaluation point is the
    average x, c = -(1 - beta) max(t - 1, 0)/beta. No second buffer is held for z.

    Guarantee: on a convex function f(x_T) - f* = O(1/sqrt T) with a constant learning rate that needs no horizon.

    Args:
        learning_rate: lr, a float or a function of the number of calls. Every step has the same weight in the
            average, as with `weight_lr_power=0` of `optax.contrib.schedule_free_sgd`.
        beta: in (0, 1].
        restart: as in `nag`.
        accumulator_dtype: as in `nag`.

    Raises:
        ValueError: a number out of range.

    Example:
        >>> import jax.numpy as jnp, nagviz as nv
        >>> optimizer, params = nv.schedule_free(1.0, beta=0.5), jnp.array(0.0)
        >>> state = optimizer.init(params)
        >>> for _ in range(3):  # z = -1, -2, -3
        ...     updates, state = optimizer.update(jnp.array(1.0), state)
        ...     params += updates
        >>> print(f"{params:.2f} {nv.evaluation_point(state, params):.2f}")
        -2.50 -2.00

    Source: Defazio, Yang, Mehta, Mishchenko, Khaled, Cutkosky (2024), arXiv 2405.15682.
    """
    require("beta", beta, lambda beta: 0 < beta <= 1, "above 0 and at most 1")

    def momentum(age):
        return jnp.maximum(age - 1, 0) / (age + 1)

    return _method(
        learning_rate,
        momentum,
        correction=lambda age: beta / (age + 1) - (1 - beta) * momentum(age),
        step_weight=1 - beta,
        evaluation=lambda age: -(1 - beta) * jnp.maximum(age - 1, 0) / beta,
        restart=restart,
        accumulator_dtype=accumulator_dtype,
    )


def primal_averaging(
    learning_rate: LearningRate,
    mu_y: Scalar = 0.9,
    mu_x: Scalar = 0.99,
    *,
    restart: Restart | None = None,
    accumulator_dtype: jax.typing.DTypeLike | None = None,
) -> optax.GradientTransformationExtraArgs:
    """Generalized primal averaging: alpha = 1 - mu_y, mu = mu_x, gamma = mu_y - mu_x.

        z_{t+1} = z_t + d_t
        x_{t+1} = mu_x x_t + (1 - mu_x) z_{t+1}
        y_{t+1} = mu_y x_{t+1} + (1 - mu_y) z_{t+1}

    The evaluation point is the average x, c = -(1 - mu_y) mu_x / (mu_y (1 - mu_x)). The look-ahead points are those
    of quasi-hyperbolic momentum with nu = mu_y and beta = mu_x.

    Args:
        learning_rate: lr, a float or a function of the number of calls.
        mu_y: the share of the average in y, in (0, 1].
        mu_x: the decay of the average, in [0, 1).
        restart: as in `nag`.
        accumulator_dtype: as in `nag`.

    Raises:
        ValueError: a number out of range.

    Example:
        >>> import jax.numpy as jnp, nagviz as nv
        >>> optimizer, params = nv.primal_averaging(1.0, mu_y=0.5, mu_x=0.75), jnp.array(0.0)
        >>> updates, state = optimizer.update(jnp.array(1.0), optimizer.init(params))
        >>> print(f"{params + updates:.3f} {nv.evaluation_point(state, params + updates):.3f}")
        -0.625 -0.250

    Source: arXiv 2512.17131 (2025).
    """
    require("mu_y", mu_y, lambda mu: 0 < mu <= 1, "above 0 and at most 1")
    require("mu_x", mu_x, lambda mu: 0 <= mu < 1, "at least 0 and below 1")
    return _method(
        learning_rate,
        mu_x,
        correction=mu_y - mu_x,
        step_weight=1 - mu_y,
        evaluation=-(1 - mu_y) * mu_x / (mu_y * (1 - mu_x)),
        restart=restart,
        accumulator_dtype=accumulator_dtype,
    )


def ema_nesterov(
    learning_rate: LearningRate,
    decay: Scalar = 0.9,
    lookahead: Scalar = 1.0,
    *,
    restart: Restart | None = None,
    accumulator_dtype: jax.typing.DTypeLike | None = None,
) -> optax.GradientTransformationExtraArgs:
    """A look-ahead along the average of past steps: alpha = 1, mu = g + b (1 - g), gamma = -g, c = -1.

        x_{t+1} = y_t + d_t
        e_{t+1} = g e_t + (1 - g)(x_{t+1} - x_t)
        y_{t+1} = x_{t+1} + b e_{t+1}

    with decay g and look-ahead b. The formula is recalled from a secondary description.

    Args:
        learning_rate: lr, a float or a function of the number of calls.
        decay: g in [0, 1); 0 is Nesterov's method with momentum b.
        lookahead: b in [0, 1].
        restart: as in `nag`.
        accumulator_dtype: as in `nag`.

    Raises:
        ValueError: a number out of range.

    Example:
        >>> import jax.numpy as jnp, nagviz as nv
        >>> optimizer = nv.ema_nesterov(1.0, decay=0.5, lookahead=0.5)
        >>> updates, _ = optimizer.update(jnp.array(1.0), optimizer.init(jnp.array(0.0)))
        >>> print(f"{updates:.2f}")  # -1 - b (1 - g)
        -1.25

    Source: arXiv 2605.25395 (2026), recalled.
    """
    require("decay", decay, lambda g: 0 <= g < 1, "at least 0 and below 1")
    _require_share(lookahead=lookahead)
    return _method(
        learning_rate,
        decay + lookahead * (1 - decay),
        correction=-decay,
        restart=restart,
        accumulator_dtype=accumulator_dtype,
    )
