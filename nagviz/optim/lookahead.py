"""Nesterov's look-ahead as one Optax transformation with one buffer.

Two points travel together: the iterate x_t, which converges and is deployed, and the look-ahead y_t,
where the gradient is taken. Optax differentiates at `params`, so `params` is y_t, and the state holds the
displacement s_t = y_t - x_t. The transformation stands last in the chain: the update d_t that reaches it
is the whole step of any base optimizer taken at y_t (for gradient descent d_t = -lr_t grad f(y_t)).

The textbook form, with step weight alpha, momentum mu and correction gamma, is

    x_{t+1} = y_t + alpha d_t
    y_{t+1} = x_{t+1} + mu (x_{t+1} - x_t) + gamma d_t

Put x_t = y_t - s_t into it; both sequences drop out, and two lines are left, which `update` computes:

    s_{t+1}       = mu s_t + (mu alpha + gamma) d_t
    y_{t+1} - y_t = alpha d_t + s_{t+1}

Plain Nesterov is alpha = 1, gamma = 0. Sources: Nesterov (1983, 2004); Sutskever et al. (2013).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from nagviz.optim.coefficients import Coefficient, at


class LookaheadState(NamedTuple):
    """What the look-ahead remembers."""

    displacement: optax.Updates  # s_t = y_t - x_t, shaped like the parameters
    age: jax.Array  # (), int32: calls so far


def nesterov_lookahead(
    momentum: Coefficient = 0.9,
    *,
    correction: Coefficient = 0.0,
    step_weight: Coefficient = 1.0,
    accumulator_dtype: jax.typing.DTypeLike | None = None,
) -> optax.GradientTransformationExtraArgs:
    """Turn the step of any optimizer into a Nesterov step; stands last in the chain.

    With d_t the update that arrives, taken at the look-ahead point y_t (which is `params`):

        s_{t+1} = mu s_t + (mu alpha + gamma) d_t,    emitted = alpha d_t + s_{t+1}

    A coefficient that is a function is given the age, the number of calls before this one, as an integer
    array of the width that JAX is set to (so that `age / (age + 3)` is a float64 where x64 is on).

    Anything after it in the chain that rescales its output breaks y_t = x_t + s_t, and with it `iterate`.

    Args:
        momentum: mu, a float or a function of the age.
        correction: gamma, likewise. 0 is Nesterov, -mu gradient descent.
        step_weight: alpha, likewise. 0 with correction 1 is heavy ball.
        accumulator_dtype: the dtype of the displacement; by default each parameter's own. A bfloat16
            displacement stops moving at momentum 0.999: give float32 there.

    Returns:
        A transformation whose updates have the dtype of the updates that arrive. Sums are made in
        float32 or wider.

    Raises:
        ValueError: a coefficient is a number and not finite.

    Example:
        >>> import jax, jax.numpy as jnp, optax, nagviz as nv
        >>> optimizer = optax.chain(optax.sgd(0.1), nv.nesterov_lookahead(0.9))
        >>> params = jnp.array(1.0)
        >>> state = optimizer.init(params)
        >>> for _ in range(3):
        ...     gradient = jax.grad(lambda w: w**2 / 2)(params)
        ...     updates, state = optimizer.update(gradient, state, params)
        ...     params = optax.apply_updates(params, updates)
        ...     print(f"y = {params:.4f}   x = {nv.iterate(state, params):.4f}")
        y = 0.8100   x = 0.9000
        y = 0.5751   x = 0.7290
        y = 0.3273   x = 0.5176

    Source: Nesterov (1983); the one-buffer form follows from Sutskever et al. (2013), section 2.1.
    """
    mu, gamma, alpha = (
        at(name, value)
        for name, value in (
            ("momentum", momentum),
            ("correction", correction),
            ("step_weight", step_weight),
        )
    )

    def init(params: optax.Params) -> LookaheadState:
        displacement = optax.tree.zeros_like(params, dtype=accumulator_dtype)
        return LookaheadState(displacement, age=jnp.zeros((), jnp.int32))

    def update(updates, state, params=None, **extra):
        del params, extra
        # int is int64 under x64: int32 / int would be a float32 even there.
        age = state.age.astype(int)
        a, m, g = alpha(age), mu(age), gamma(age)
        # mu (s + alpha d) + gamma d, multiplied out: factored, XLA computes it twice on the CPU.
        displacement = _combine(updates, state.displacement, m, m * a + g, like=state.displacement)
        emitted = _combine(updates, displacement, 1.0, a, like=updates)
        return emitted, LookaheadState(displacement, optax.safe_increment(state.age))

    return optax.GradientTransformationExtraArgs(init, update)


def _combine(updates, displacement, of_displacement, of_update, *, like):
    """of_displacement s + of_update d, leaf by leaf; a None update leaves what `like` holds."""

    def leaf(d, s, kept):
        if d is None:
            return kept
        wide = jnp.promote_types(jnp.promote_types(d.dtype, s.dtype), jnp.float32)
        real = jnp.finfo(wide).dtype
        total = jnp.asarray(of_displacement, real) * s.astype(wide)
        total += jnp.asarray(of_update, real) * d.astype(wide)
        return total.astype(kept.dtype)

    return jax.tree.map(leaf, updates, displacement, like, is_leaf=lambda d: d is None)


def iterate(state: optax.OptState, params: optax.Params) -> optax.Params:
    """The iterate x_t = y_t - s_t: the point that converges, to be evaluated and deployed.

    Finds the look-ahead inside any Optax state: `chain`, `inject_hyperparams`, `MultiSteps`,
    `apply_if_finite`, `masked`, `partition`. Parameters that no look-ahead moves come back as they are.

    Args:
        state: the optimizer's state.
        params: the look-ahead point y_t, the parameters that the optimizer updates.

    Returns:
        A tree like `params`, of the same dtypes.

    Raises:
        ValueError: the state holds no look-ahead, two that move the same parameters, or one of other
            parameters than these.

    Example:
        >>> import jax.numpy as jnp, nagviz as nv
        >>> optimizer = nv.nag(0.1, momentum=0.5)
        >>> params = {"w": jnp.array([1.0, 2.0])}
        >>> updates, state = optimizer.update({"w": jnp.array([1.0, 1.0])}, optimizer.init(params))
        >>> params = optax.apply_updates(params, updates)
        >>> print(params["w"], nv.iterate(state, params)["w"])
        [0.85 1.85] [0.90000004 1.9       ]
    """
    return _displace(state, params, lambda y, s: y - s, "params")


def from_iterate(state: optax.OptState, iterate: optax.Params) -> optax.Params:
    """The look-ahead point y_t = x_t + s_t that belongs to an iterate: the inverse of `iterate`.

    Use it after something has been done to the iterate (a projection, an average over workers) and
    training is to go on from there with the velocity that it had.

    Args:
        state: the optimizer's state.
        iterate: x_t, a tree like the parameters.

    Returns:
        y_t, a tree like `iterate`, of the same dtypes.

    Raises:
        ValueError: as `iterate`.

    Example:
        >>> import jax.numpy as jnp, nagviz as nv
        >>> optimizer = nv.nag(0.1, momentum=0.5)
        >>> updates, state = optimizer.update(jnp.array(1.0), optimizer.init(jnp.array(0.0)))
        >>> print(nv.from_iterate(state, jnp.array(2.0)))
        1.95
    """
    return _displace(state, iterate, lambda x, s: x + s, "iterate")


def _displace(
    state: optax.OptState,
    point: optax.Params,
    move: Callable[[jax.Array, jax.Array], jax.Array],
    name: str,
) -> optax.Params:
    def leaf(s, p):
        return p if _is_hole(s) else move(p, s).astype(p.dtype)

    for found in _lookaheads(state):
        try:
            point = jax.tree.map(leaf, found.displacement, point, is_leaf=_is_hole)
        except ValueError as error:
            raise ValueError(
                f"{name} does not have the structure of the parameters that the state was made for; "
                f"give the tree that the optimizer updates ({error})"
            ) from error
    return point


def _is_hole(node) -> bool:
    """Whether another transformation moves what stands here."""
    return node is None or isinstance(node, optax.MaskedNode)


def _lookaheads(state: optax.OptState) -> list[LookaheadState]:
    """Every look-ahead in an Optax state; they must move disjoint parts of the parameters."""

    def is_lookahead(node):
        return isinstance(node, LookaheadState)

    found = [node for node in jax.tree.leaves(state, is_leaf=is_lookahead) if is_lookahead(node)]
    if not found:
        raise ValueError(
            f"state holds no look-ahead, got {type(state).__name__}; "
            "give the state of an optimizer that ends in nesterov_lookahead, such as nag"
        )
    owners = Counter(
        jax.tree_util.keystr(path)
        for node in found
        for path, _ in jax.tree_util.tree_leaves_with_path(node.displacement)
    )
    if shared := [path for path, count in owners.items() if count > 1]:
        raise ValueError(
            f"state holds several look-aheads that move the same parameters (params{shared[0]}), so that "
            "there is no one iterate; keep one in the chain, or give each its own part by optax.partition"
        )
    return found
