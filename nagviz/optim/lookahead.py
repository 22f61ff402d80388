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

from collections import OrderedDict
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import export
from jax.tree_util import keystr

from nagviz.optim.coefficients import Coefficient, carried
from nagviz.optim.restart import Restart, Step


class LookaheadState(NamedTuple):
    """What the look-ahead remembers: one buffer, and a few scalars."""

    displacement: optax.Updates  # s_t = y_t - x_t, shaped like the parameters
    age: jax.Array  # (), int32: calls since the start or the last restart
    evaluation_coefficient: jax.Array  # (), c_t: the method's own evaluation point is y_t + c_t s_t
    coefficient_states: tuple[Any, ...]  # the scalars of coefficients that follow a recurrence
    restart_count: jax.Array  # (), int32
    restart_memory: jax.Array  # (), what the restart rule remembers


export.register_namedtuple_serialization(LookaheadState, serialized_name="nagviz.LookaheadState")


def nesterov_lookahead(
    momentum: Coefficient = 0.9,
    *,
    correction: Coefficient = 0.0,
    step_weight: Coefficient = 1.0,
    evaluation: Coefficient = -1.0,
    restart: Restart | None = None,
    accumulator_dtype: jax.typing.DTypeLike | None = None,
) -> optax.GradientTransformationExtraArgs:
    """Turn the step of any optimizer into a Nesterov step; stands last in the chain.

    With d_t the update that arrives, taken at the look-ahead point y_t (which is `params`):

        s_{t+1} = mu s_t + (mu alpha + gamma) d_t,    emitted = alpha d_t + s_{t+1}

    A coefficient that is a function is given the age, the number of calls since the start or the last restart,
    as an integer array of the width that JAX is set to (so that `age / (age + 3)` is a float64 under x64).

    Anything after it in the chain that changes its output breaks y_t = x_t + s_t; the read-outs refuse such a
    chain, where they can see it: in a chain and a named chain, though not in a step that is wrapped whole, nor behind
    another mask. A step that is exported by `jax.export` keeps this state's type; the states of Optax's own links
    have to be registered by `jax.export.register_namedtuple_serialization`.

    Args:
        momentum: mu, a float or a function of the age.
        correction: gamma, likewise: at alpha = 1, -mu is gradient descent, below 0 is steadier under noise, 0
            Nesterov, towards 1 the optimized gradient method.
        step_weight: alpha, likewise. 0 with correction 1 is heavy ball.
        evaluation: c, likewise: the point y_t + c_t s_t that `evaluation_point` reads out. By default the
            iterate.
        restart: when to forget the velocity, such as `gradient_restart()`.
        accumulator_dtype: the dtype of the displacement; by default each parameter's own. A bfloat16
            displacement stops moving at momentum 0.999: give float32 there.

    Returns:
        A transformation whose updates have the dtype of the updates that arrive. Sums are made in
        float32 or wider.

    Raises:
        ValueError: a coefficient is a number and not finite, or `restart` is no `Restart`.

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
    _require_restart(restart)
    weights = (
        carried("step_weight", step_weight),
        carried("momentum", momentum),
        carried("correction", correction),
        carried("evaluation", evaluation),
    )

    def start():
        return tuple(weight.init() for weight in weights)

    def at(age, held):
        return tuple(weight.at(age, scalars) for weight, scalars in zip(weights, held, strict=True))

    def init(params):
        age, held = jnp.zeros((), jnp.int32), start()
        return LookaheadState(
            optax.tree.zeros_like(params, dtype=accumulator_dtype),
            age=age,
            evaluation_coefficient=jnp.asarray(at(age, held)[3], float),
            coefficient_states=held,
            restart_count=jnp.zeros((), jnp.int32),
            restart_memory=jnp.asarray(restart.memory if restart else 0.0, float),
        )

    def update(updates, state, params=None, **extra):
        del params
        alpha, mu, gamma, _ = at(state.age, state.coefficient_states)
        age = optax.safe_increment(state.age)
        held = tuple(w.update(s, **extra) for w, s in zip(weights, state.coefficient_states, strict=True))
        hit, flow, memory = _judged(restart, state, updates, alpha, extra.get("value"))
        if restart:
            age = jnp.where(hit, 0, age)
            held = jax.tree.map(partial(jnp.where, hit), start(), held)
        moved, displacement = _step(updates, state.displacement, alpha, flow * mu, flow * (mu * alpha + gamma))
        if restart and restart.reject:
            moved = _where_rejected(hit, updates, state.displacement, moved)
        return moved, LookaheadState(
            displacement,
            age=age,
            evaluation_coefficient=jnp.asarray(at(age, held)[3], float),
            coefficient_states=held,
            restart_count=state.restart_count + hit,
            restart_memory=memory,
        )

    return optax.GradientTransformationExtraArgs(init, update)


def _require_restart(restart) -> None:
    if not isinstance(restart, Restart | None):
        raise ValueError(
            "restart must be None, gradient_restart(), function_restart(), speed_restart(), "
            f"periodic_restart(period) or another Restart, got {restart!r}"
        )


def _judged(restart: Restart | None, state: LookaheadState, updates, alpha, value):
    """Whether the method restarts, the factor that takes what flows on with it, and what the rule remembers."""
    if restart is None:
        return 0, 1.0, state.restart_memory
    step = Step(state.age, updates, state.displacement, alpha, value, state.restart_memory)
    hit, memory = restart.judge(step)
    return hit, jnp.where(hit, 0.0, 1.0), memory


def _step(updates, displacement, alpha, of_displacement, of_update):
    """alpha d + s', and s' = of_displacement s + of_update d."""

    def displaced(d, s):
        # mu (s + alpha d) + gamma d, multiplied out: factored, XLA computes it twice on the CPU.
        return s if d is None else _sum(of_displacement, s, of_update, d).astype(s.dtype)

    def emitted(d, s):
        return None if d is None else _sum(1.0, s, alpha, d).astype(d.dtype)

    displacement = jax.tree.map(displaced, updates, displacement, is_leaf=_is_none)
    return jax.tree.map(emitted, updates, displacement, is_leaf=_is_none), displacement


def _where_rejected(hit, updates, displacement, moved):
    """Back to x_t = y_t - s_t where the step is rejected."""

    def leaf(d, s, u):
        return None if d is None else jnp.where(hit, -s, u).astype(u.dtype)

    return jax.tree.map(leaf, updates, displacement, moved, is_leaf=_is_none)


def _sum(of_displacement, s, of_update, d):
    """A weighted sum in float32 or wider, or in the complex type of that width."""
    wide = jnp.promote_types(jnp.promote_types(d.dtype, s.dtype), jnp.float32)
    real = jnp.finfo(wide).dtype
    return jnp.asarray(of_displacement, real) * s.astype(wide) + jnp.asarray(of_update, real) * d.astype(wide)


def _is_none(node) -> bool:
    return node is None


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
        ValueError: the state holds no look-ahead, two that move the same parameters, one of other parameters
            than these, or one that is not last in its chain.

    Example:
        >>> import jax.numpy as jnp, nagviz as nv
        >>> optimizer = nv.nag(0.1, momentum=0.5)
        >>> params = {"w": jnp.array([1.0, 2.0])}
        >>> updates, state = optimizer.update({"w": jnp.array([1.0, 1.0])}, optimizer.init(params))
        >>> params = optax.apply_updates(params, updates)
        >>> print(params["w"], nv.iterate(state, params)["w"])
        [0.85 1.85] [0.90000004 1.9       ]
    """
    return _displace(state, params, lambda y, s, c: y - s, "params")


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
    return _displace(state, iterate, lambda x, s, c: x + s, "iterate")


def evaluation_point(state: optax.OptState, params: optax.Params) -> optax.Params:
    """The point at which the method's own guarantee holds: y_t + c_t s_t.

    For most methods it is the iterate (c = -1) or the look-ahead itself (c = 0); triple momentum, ITEM,
    schedule-free and primal averaging have points of their own.

    Args:
        state: the optimizer's state.
        params: the look-ahead point y_t.

    Returns:
        A tree like `params`, of the same dtypes.

    Raises:
        ValueError: as `iterate`.

    Example:
        >>> import jax.numpy as jnp, nagviz as nv
        >>> optimizer = nv.heavy_ball(0.5, momentum=0.5)
        >>> updates, state = optimizer.update(jnp.array(1.0), optimizer.init(jnp.array(0.0)))
        >>> params = optax.apply_updates(jnp.array(0.0), updates)
        >>> print(params, nv.evaluation_point(state, params), nv.iterate(state, params))
        -0.5 -0.5 0.0
    """
    return _displace(state, params, lambda y, s, c: y + c.astype(jnp.finfo(s.dtype).dtype) * s, "params")


def velocity(state: optax.OptState, params: optax.Params) -> optax.Params:
    """The displacement s_t = y_t - x_t that the optimizer carries into its next step, in units of the parameters.

    For Nesterov it is mu_t (x_t - x_{t-1}), for heavy ball the last step y_t - y_{t-1}. It is zero at the start,
    after a restart, and where no look-ahead moves the parameters.

    Args:
        state: the optimizer's state.
        params: the look-ahead point y_t.

    Returns:
        A tree like `params`, of the same dtypes.

    Raises:
        ValueError: as `iterate`.

    Example:
        >>> import jax.numpy as jnp, nagviz as nv
        >>> optimizer = nv.nag(1.0, momentum=0.5)
        >>> params = jnp.array(2.0)
        >>> _, state = optimizer.update(jnp.array(1.0), optimizer.init(params))
        >>> print(nv.velocity(state, params))
        -0.5
    """
    return _displace(state, params, lambda y, s, c: s, "params", elsewhere=jnp.zeros_like)


def restarts(state: optax.OptState) -> jax.Array:
    """How often the method has restarted; summed over the look-aheads of a partition.

    Args:
        state: the optimizer's state.

    Returns:
        An int32 scalar.

    Raises:
        ValueError: the state holds no look-ahead.

    Example:
        >>> import jax.numpy as jnp, nagviz as nv
        >>> optimizer = nv.nag(0.1, restart=nv.periodic_restart(2))
        >>> state = optimizer.init(jnp.array(1.0))
        >>> for _ in range(5):
        ...     _, state = optimizer.update(jnp.array(1.0), state)
        >>> print(nv.restarts(state))
        2
    """
    return sum(found.restart_count for found in _lookaheads(state))


def _displace(
    state: optax.OptState,
    point: optax.Params,
    move: Callable[[jax.Array, jax.Array, jax.Array], jax.Array],
    name: str,
    *,
    elsewhere: Callable[[jax.Array], jax.Array] = lambda p: p,
) -> optax.Params:
    """Move each leaf of a point by its displacement and evaluation coefficient, found by its path."""
    nodes = _nodes(state)

    def leaf(path, p):
        # The longest known path: a hole may stand for a whole subtree, part of which another state moves.
        for length in range(len(path), -1, -1):
            if path[:length] in nodes:
                s, c = nodes[path[:length]]
                if _is_hole(s):
                    return elsewhere(p)
                if jnp.shape(p) != jnp.shape(s):
                    raise ValueError(f"{name}{keystr(path)} must have the shape {s.shape}, got {jnp.shape(p)}")
                return move(p, s, c).astype(p.dtype)
        raise ValueError(f"{name}{keystr(path)} is none of the parameters of this state")

    moved = jax.tree_util.tree_map_with_path(leaf, point)
    given = {path for path, _ in jax.tree_util.tree_leaves_with_path(point)}
    if missing := [path for path, (s, _) in nodes.items() if not _is_hole(s) and path not in given]:
        raise ValueError(
            f"{name} must be the tree that the optimizer updates, but has no "
            f"{name}{keystr(missing[0])}, which the state moves"
        )
    return moved


def _nodes(state: optax.OptState) -> dict[tuple, tuple[Any, jax.Array]]:
    """By path, what moves the parameters: a displacement or a hole, with its evaluation coefficient."""
    nodes = {}
    for found in _lookaheads(state):
        for path, s in jax.tree_util.tree_leaves_with_path(found.displacement, is_leaf=_is_hole):
            if _is_hole(s):
                nodes.setdefault(path, (s, found.evaluation_coefficient))
                continue
            if not _is_hole(nodes.get(path, (None,))[0]):
                raise ValueError(
                    "state holds several look-aheads that move the same parameters "
                    f"(params{keystr(path)}), so that there is no one iterate; keep one in the "
                    "chain, or give each its own part by optax.partition"
                )
            nodes[path] = (s, found.evaluation_coefficient)
    return nodes


def _is_hole(node) -> bool:
    """Whether another transformation moves what stands here."""
    return node is None or isinstance(node, optax.MaskedNode)


def _lookaheads(state: optax.OptState) -> list[LookaheadState]:
    """Every look-ahead in an Optax state."""
    found = _found(state)
    if not found:
        raise ValueError(
            f"state holds no look-ahead, got {type(state).__name__}; "
            "give the state of an optimizer that ends in nesterov_lookahead, such as nag"
        )
    for links in _chains(state):
        for link, *after in (links[i:] for i in range(len(links) - 1)):
            if not _found(link):
                continue
            if isinstance(link, optax.MaskedState):  # another masked link moves other parameters, as a rule
                after = [later for later in after if not isinstance(later, optax.MaskedState)]
            if after:
                raise ValueError(
                    "state is of a chain in which the look-ahead is not last: "
                    f"{type(after[0]).__name__} comes after it, and what it does to the updates is lost to "
                    "the displacement, so that y - s is not the iterate; move nesterov_lookahead to the end"
                )
    return found


def _found(state) -> list[LookaheadState]:
    def is_lookahead(node):
        return isinstance(node, LookaheadState)

    return [node for node in jax.tree.leaves(state, is_leaf=is_lookahead) if is_lookahead(node)]


def _chains(state) -> Iterator[tuple]:
    """The links of every chain in a state: plain tuples, and ordered dicts of `optax.named_chain`."""

    def is_chain(node):
        return type(node) in (tuple, OrderedDict)

    for node in jax.tree.leaves(state, is_leaf=is_chain):
        if is_chain(node):
            links = tuple(node.values()) if isinstance(node, OrderedDict) else node
            yield links
            for link in links:
                yield from _chains(link)
