"""The coefficients of the look-ahead as functions of the age: momentum schedules and the family's own.

The age is the number of calls since the start or the last restart, 0 at the first call; what is returned at
age t is the textbook's mu_{t+1}, the weight of the velocity in the step from y_t to y_{t+1}.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

Scalar = float | jax.typing.ArrayLike


class Recurrence(NamedTuple):
    """A coefficient that is read from scalars which follow a recurrence: an Optax stateful schedule.

    The look-ahead's state carries the scalars, and starts them again when the method restarts. Called with an
    age instead, it runs the recurrence from its start (for a plain integer in Python's floats), so that it can
    be looked at, summed and drawn like any function of the age.

    Example:
        >>> import nagviz as nv
        >>> fibonacci = nv.Recurrence((0, 1), lambda s: (s[1], s[0] + s[1]), lambda s: s[0])
        >>> [fibonacci(age) for age in range(8)]
        [0, 1, 1, 2, 3, 5, 8, 13]
    """

    start: tuple[Scalar, ...]  # the scalars at age 0
    advance: Callable[[tuple[Scalar, ...]], tuple[Scalar, ...]]  # to those of the next age
    read: Callable[[tuple[Scalar, ...]], Scalar]  # the coefficient

    def init(self) -> tuple[jax.Array, ...]:
        """The scalars at age 0, as arrays of JAX's default float."""
        return tuple(jnp.asarray(scalar, float) for scalar in self.start)

    def update(self, scalars: tuple[jax.Array, ...], **extra: Any) -> tuple[jax.Array, ...]:
        """The scalars of the next age, of the same dtypes."""
        del extra
        following = self.advance(scalars)
        return tuple(jnp.asarray(new, old.dtype) for new, old in zip(following, scalars, strict=True))

    def __call__(self, at: tuple[Scalar, ...] | int | jax.Array, **extra: Any) -> Scalar:
        """The coefficient, from its scalars or at an age."""
        del extra
        if isinstance(at, tuple):
            return self.read(at)
        if isinstance(at, jax.Array):
            return self.read(jax.lax.fori_loop(0, at, lambda _, s: self.update(s), self.init()))
        scalars = self.start
        for _ in range(at):
            scalars = self.advance(scalars)
        return self.read(scalars)


# A number (or a tracer that stands for one), or a function of the age, an integer array.
Coefficient = Scalar | Callable[[jax.Array], Scalar] | Recurrence


class ByAge(NamedTuple):
    """A coefficient that is a function of the age and carries nothing."""

    function: Callable[[jax.Array], Scalar]

    def init(self) -> tuple[()]:
        """Nothing."""
        return ()

    def update(self, held: tuple[()], **extra: Any) -> tuple[()]:
        """Nothing still."""
        del extra
        return held

    def at(self, age: jax.Array, held: tuple[()]) -> Scalar:
        """The coefficient; its function is given an int64 under x64, where int32 / int is a float32."""
        del held
        return self.function(age.astype(int))


class ByState(NamedTuple):
    """A coefficient that is read from what a stateful schedule carries."""

    schedule: Recurrence | optax.schedules.StatefulSchedule

    def init(self) -> Any:
        """What is carried at age 0."""
        return self.schedule.init()

    def update(self, held: Any, **extra: Any) -> Any:
        """What is carried at the next age."""
        return self.schedule.update(held, **extra)

    def at(self, age: jax.Array, held: Any) -> Scalar:
        """The coefficient."""
        del age
        return self.schedule(held)


def carried(name: str, coefficient: Coefficient) -> ByAge | ByState:
    """A coefficient in the form that the look-ahead carries through its steps.

    Raises:
        ValueError: it is a plain number and not finite; a tracer is let through.
    """
    if isinstance(coefficient, optax.schedules.StatefulSchedule):
        return ByState(coefficient)
    if callable(coefficient):
        return ByAge(coefficient)
    require(name, coefficient, math.isfinite, "a finite number")
    return ByAge(lambda age: coefficient)


def require(name: str, value: Any, holds: Callable[[float], bool], remedy: str) -> None:
    """Refuse what is no number, or one that is known now and that `holds` is false for; tracers and functions pass."""
    if value is None or (isinstance(value, str | list | tuple | dict) and not callable(value)):
        raise ValueError(f"{name} must be {remedy}, got {value!r}")
    known = are_plain(value) or (jnp.ndim(value) == 0 if _is_concrete(value) else False)
    if known and not holds(float(value)):
        raise ValueError(f"{name} must be {remedy}, got {value}")


def _is_concrete(value: Any) -> bool:
    return isinstance(value, np.ndarray | jax.Array) and not isinstance(value, jax.core.Tracer)


def require_condition_number(value: Scalar, *, above: float = 1.0, finite: bool = True) -> None:
    """Refuse a condition number below 1 (or not above it, where the method divides by k - 1), or infinite."""
    if finite:
        require("condition_number", value, lambda k: k < math.inf, "finite (nesterov_2004 takes an infinite one)")
    if above > 1:
        require("condition_number", value, lambda k: k >= above, f"at least {above}")
    require("condition_number", value, lambda k: k >= 1, "at least 1: it is L over the strong convexity")


def root(value: Scalar) -> Scalar:
    """The square root, in Python's floats where the number is known, so that nothing is rounded to float32."""
    return math.sqrt(value) if are_plain(value) else jnp.sqrt(value)


def least(value: Scalar, bound: Scalar) -> Scalar:
    """The smaller of two numbers, which may be tracers."""
    return min(value, bound) if are_plain(value, bound) else jnp.minimum(value, bound)


def greatest(value: Scalar, bound: Scalar) -> Scalar:
    """The larger of two numbers, which may be tracers."""
    return max(value, bound) if are_plain(value, bound) else jnp.maximum(value, bound)


def are_plain(*values: Any) -> bool:
    """Whether numbers are known now."""
    return all(isinstance(value, int | float | np.number) for value in values)


def from_condition_number(condition_number: Scalar) -> Scalar:
    """The constant momentum of Nesterov's method on a strongly convex function of known condition number.

        mu = (sqrt k - 1) / (sqrt k + 1)

    With learning rate 1/L, f(x_t) - f* falls at least as (1 - 1/sqrt k)^t.

    Args:
        condition_number: k = L / m >= 1, the largest over the smallest curvature.

    Returns:
        A number.

    Raises:
        ValueError: k is below 1.

    Example:
        >>> import nagviz as nv
        >>> print(nv.from_condition_number(100))
        0.8181818181818182

    Source: Nesterov (2004), section 2.2.1.
    """
    require_condition_number(condition_number)
    return (root(condition_number) - 1) / (root(condition_number) + 1)


def nesterov_2004(condition_number: Scalar, a0: Scalar) -> Recurrence:
    """The momentum of Nesterov's general scheme, which leads to that of the condition number.

        a_{t+1}^2 = (1 - a_{t+1}) a_t^2 + q a_{t+1},    q = 1/k
        mu_{t+1}  = a_t (1 - a_t) / (a_t^2 + a_{t+1})

    With a0 = sqrt(q) it is constant, `from_condition_number`; with k infinite and a0 -> 1 it nears FISTA's.

    Args:
        condition_number: k >= 1, infinite for a function that is convex and no more.
        a0: in [1/sqrt k, 1).

    Raises:
        ValueError: k is below 1, or a0 outside its range.

    Example:
        >>> import nagviz as nv
        >>> momentum = nv.nesterov_2004(100, 0.5)
        >>> [round(momentum(age), 4) for age in (0, 1, 10, 1000)]
        [0.3881, 0.4939, 0.7569, 0.8182]

    Source: Nesterov (2004), scheme (2.2.9).
    """
    require_condition_number(condition_number, finite=False)
    require("a0", a0, lambda a: 0 < a < 1, "in [1/sqrt(condition_number), 1)")
    if are_plain(a0, condition_number):
        least_a0 = 1 / root(condition_number)
        require("a0", a0, lambda a: a >= least_a0 * (1 - 1e-12), f"at least 1/sqrt(k) = {least_a0}")
    q = 1 / condition_number

    def following(a):
        b = q - a**2
        return (b + root(b**2 + 4 * a**2)) / 2

    return Recurrence(
        start=(a0,),
        advance=lambda scalars: (following(*scalars),),
        read=lambda scalars: scalars[0] * (1 - scalars[0]) / (scalars[0] ** 2 + following(*scalars)),
    )


def next_theta(theta: Scalar) -> Scalar:
    """th_{t+1} = (1 + sqrt(1 + 4 th_t^2)) / 2 (Nesterov 1983)."""
    return (1 + root(1 + 4 * theta**2)) / 2


def fista_momentum() -> Recurrence:
    """The momentum of Nesterov (1983) and FISTA, for convex functions.

        th_0 = 1,   th_{t+1} = (1 + sqrt(1 + 4 th_t^2)) / 2,   mu_{t+1} = (th_t - 1) / th_{t+1}

    With learning rate 1/L, f(x_N) - f* <= 2 L |x_0 - x*|^2 / (N + 1)^2.

    Example:
        >>> import nagviz as nv
        >>> momentum = nv.fista_momentum()
        >>> [round(momentum(age), 6) for age in range(4)]
        [0.0, 0.281754, 0.434043, 0.531064]

    Source: Nesterov (1983); Beck and Teboulle (2009).
    """
    return Recurrence(
        start=(1.0,),
        advance=lambda scalars: (next_theta(*scalars),),
        read=lambda scalars: (scalars[0] - 1) / next_theta(*scalars),
    )


def rational(k: Scalar, n: Scalar) -> Callable[[Scalar], Scalar]:
    """The rational family, mu = max(0, (tau + k) / (tau + n)) in a clock tau.

    With tau the age, (0, 3) is Nesterov's t/(t+3), and (-1, 2) the same a call later. With tau the root of the
    condition number, (-1, 1) is `from_condition_number`. n - k is the friction of the limiting flow; 3 is the
    least for which f(x_t) - f* = O(1/t^2) is known.

    Args:
        k: below n.
        n: positive, so that tau + n is.

    Returns:
        A function of the age, or of any other clock that is not negative.

    Raises:
        ValueError: n is not positive, or not above k.

    Example:
        >>> import nagviz as nv
        >>> momentum = nv.rational(-1, 2)
        >>> [float(momentum(age)) for age in (0, 1, 2, 6)]
        [0.0, 0.0, 0.25, 0.625]

    Source: Su, Boyd, Candes (2016).
    """
    require("n", n, lambda n: 0 < n < math.inf, "positive and finite, so that tau + n is")
    if are_plain(k, n):
        require("k", k, lambda k: k < n, f"below n = {n}")
    # 1.0 tau is as wide as JAX is set to; an int32 over an int32, as under inject_hyperparams, is a float32.
    return lambda tau: greatest((1.0 * tau + k) / (1.0 * tau + n), 0.0)


def friction(r: Scalar) -> Callable[[Scalar], Scalar]:
    """The momentum t / (t + r), whose limit is the flow x'' + (r/t) x' + grad f(x) = 0.

    r = 3 is the critical friction; r > 3 makes the iterates converge (Chambolle and Dossal's t/(t + 1 + a), a > 2,
    is r = 1 + a). With learning rate 1/L and r = 3, the largest f(x_N) - f* for L = |x_0 - x*| = 1 is
    2/((N + 2)(N + 3)) on the Huber function that is worst for it.

    Args:
        r: at least 3, where the guarantee holds.

    Returns:
        A function of the age.

    Raises:
        ValueError: r is below 3 or not finite; `rational(0, r)` takes less, without a guarantee.

    Example:
        >>> import nagviz as nv
        >>> momentum = nv.friction(3)
        >>> [float(momentum(age)) for age in (0, 1, 3, 27)]
        [0.0, 0.25, 0.5, 0.9]

    Source: Su, Boyd, Candes (2016); Chambolle and Dossal (2015).
    """
    remedy = "finite and at least 3, the least friction with a guarantee (rational(0, r) takes less)"
    require("r", r, lambda r: 3 <= r < math.inf, remedy)
    return rational(0, r)


def sutskever(maximum: Scalar, period: Scalar = 250) -> Callable[[Scalar], Scalar]:
    """The momentum that Sutskever et al. raised step by step towards a maximum.

        m_t = min(1 - 1 / (2 (floor(t / period) + 1)), maximum),    mu_{t+1} = m_{t+1}

    The look-ahead after call t uses the next step's momentum, as theirs does: their gradient at step t + 1 is
    taken at x + m_{t+1} v.

    Args:
        maximum: in [0, 1].
        period: steps between two rises, at least 1.

    Returns:
        A function of the age.

    Raises:
        ValueError: a number out of range.

    Example:
        >>> import nagviz as nv
        >>> momentum = nv.sutskever(0.9)
        >>> [float(momentum(age)) for age in (0, 248, 249, 499, 5000)]
        [0.5, 0.5, 0.75, 0.8333333333333334, 0.9]

    Source: Sutskever, Martens, Dahl, Hinton (2013), equation 5.
    """
    require("maximum", maximum, lambda m: 0 <= m <= 1, "from 0 to 1")
    require("period", period, lambda p: 1 <= p < math.inf, "at least 1")
    return lambda age: least(1 - 0.5 / ((age + 1) // period + 1), maximum)


def stability_limit(momentum: float, correction: float = 0.0, step_weight: float = 1.0) -> float:
    """The largest learning rate times curvature at which the look-ahead is stable on a quadratic.

    A mode of curvature lambda, with q = lr lambda, obeys

        z^2 - (1 + mu - (alpha (1 + mu) + gamma) q) z + mu (1 - alpha q) = 0

    Both roots lie within the unit circle (Jury's conditions: the polynomial is positive at 1 and at -1, and its last
    coefficient within 1) for

        0 < q < 2 (1 + mu) / (alpha (1 + 2 mu) + gamma)

    since the condition at -1 is the first to be broken. It is 2 for gradient descent, 4/3 for NAG as mu nears 1, and
    2 + 2 mu for the heavy ball.

    Args:
        momentum: mu, from 0 to 1.
        correction: gamma.
        step_weight: alpha, at least 0.

    Returns:
        The limit; 0 where alpha + gamma is not positive, since then no rate is stable.

    Raises:
        ValueError: a momentum or a step weight outside its range, or a correction that is not finite.

    Example:
        >>> import nagviz as nv
        >>> [nv.stability_limit(0.0), nv.stability_limit(0.5), nv.stability_limit(0.5, correction=1.0, step_weight=0.0)]
        [2.0, 1.5, 3.0]

    Source: Jury (1964); Cohen et al. (2021), appendix B, for gradient descent, NAG and the heavy ball.
    """
    require("momentum", momentum, lambda mu: 0 <= mu <= 1, "from 0 to 1")
    require("correction", correction, math.isfinite, "a finite number")
    require("step_weight", step_weight, lambda alpha: 0 <= alpha < math.inf, "at least 0, and finite")
    if step_weight + correction <= 0:
        return 0.0
    return 2 * (1 + momentum) / (step_weight * (1 + 2 * momentum) + correction)


def step_shares(coefficients: Callable[[int], tuple[Scalar, Scalar, Scalar]], steps: int) -> np.ndarray:
    """Each past step's share in where the optimizer stands: y_n = y_0 + sum_t H[n - 1, t] d_t.

    The look-ahead is linear in the steps d_t that reach it, so its whole past is a matrix that follows from the
    coefficients alone. The sum of its last row is the displacement that unit steps would have made.

    Args:
        coefficients: maps the age to (step weight, momentum, correction).
        steps: N.

    Returns:
        The lower triangular (N, N) float64 array H.

    Raises:
        ValueError: steps is below 1.

    Example:
        >>> import nagviz as nv
        >>> momentum = nv.friction(3)
        >>> print(nv.step_shares(lambda age: (1.0, momentum(age), 0.0), 3).round(4))
        [[1.    0.    0.   ]
         [1.    1.25  0.   ]
         [1.    1.35  1.4  ]]

    Source: Drori and Teboulle (2014) write first-order methods in this form.
    """
    require("steps", steps, lambda n: n >= 1 and n == int(n), "a whole number, at least 1")
    displacement, rows = np.zeros(steps), []
    for age, unit in enumerate(np.eye(steps)):
        alpha, mu, gamma = (float(number) for number in coefficients(age))
        displacement = mu * displacement + (mu * alpha + gamma) * unit
        rows.append(alpha * unit + displacement)
    return np.cumsum(rows, axis=0)
