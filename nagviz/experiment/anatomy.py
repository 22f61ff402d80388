"""The anatomy of one step of a look-ahead method, from the state before it.

With y_t the parameters and s_t = y_t - x_t, the base optimizer's step d_t is taken at y_t, and

    x_{t+1} = y_t + alpha d_t,    s_{t+1} = mu s_t + (mu alpha + gamma) d_t,    y_{t+1} = x_{t+1} + s_{t+1}

all of which lies in the plane through y_t along s_t and d_t. Neither d_t nor a coefficient has to be known: s_{t+1}
is read out of the state, and what is left of the updates is alpha d_t. The same call from standstill (s_t = 0) tells
the step of a heavy ball, whose alpha is 0; taken at x_t, it tells what methods do that do not look ahead.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from nagviz import landscape, optim
from nagviz.figures import Anatomy, Rival

GRID = 81  # points on each side of the slice
MARGIN = 0.24  # around the points, as a share of their extent
SQUARISH = 0.7  # the least ratio of the window's sides
REACH = 1.0  # how far rivals may widen the window, in extents of the step itself
LARGER = 3.5  # times the width of its detail is a slice that has one: drawn in its corner, twice as large
TALL = 0.6  # height to width of a slice that has a detail in its corner, without margins
ROOM = 0.45  # the least height under a step for its detail, likewise
WIDE = 0.75  # the most height to width of a detail
ROUNDING = 1e-3  # of a length, beyond which a difference is more than float32's rounding
SHORTEST = 4.0  # velocity, in lengths of what the rounding of the parameters adds to them
STEADIEST = 0.5  # of a step: by so much may it change where each parameter is rounded the other way
FLATTEST = 32.0  # loss in the plane, in roundings of the loss

STEP = ("x", "next x", "next y")
GRADIENT = ("heavy ball", "gradient descent")  # the rivals of a method on plain gradients
OTHER = ("step taken at x", "no velocity")  # and of one on another optimizer's steps


class Moved(NamedTuple):
    """What one call of the optimizer does, as displacements."""

    gradient: Any  # at the point y that it was called at
    step: Any  # from y to the next iterate: alpha d
    velocity: Any  # from there to the next y


def dissect(
    loss: Callable[..., jax.Array],
    optimizer: optax.GradientTransformation,
    state: optax.OptState,
    params: Any,
    *,
    batch: Any = None,
    batches: Any = None,
    judged: Callable[..., jax.Array] | None = None,
    step: int | None = None,
    method: str = "Nesterov",
    grid: int = GRID,
    knots: int | None = None,
    **options: Any,
) -> Anatomy:
    """What a look-ahead method does in its next step, on the loss in the plane of that step.

    The plane has its origin at y_t; its first axis is the velocity s_t, its second one is of the same length, at right
    angles to it and on the far side of the step: the picture is true to scale, and the step points down.

    Args:
        loss: `loss(params)`, or `loss(params, batch)` with a batch.
        optimizer: any that ends in `nesterov_lookahead`.
        state: its state before the step.
        params: y_t, likewise.
        batch: the one that the step is taken on.
        batches: those that the loss in the plane is a mean over; `batch` alone by default.
        judged: the loss in the plane, where that is not the one that is descended: of a model that drops out, or that
            norms by its batch.
        step: t, for the title.
        method: its name, for a label.
        grid: points on each side.
        knots: points on each side at which loss and gradient are evaluated, fewer than `grid`, where a loss is dear;
            in between they are interpolated. By default the loss is evaluated at every point.
        options: further ones of `nagviz.evaluate`, such as `quantity` and `effort`.

    Returns:
        A record that `nagviz.figures.step` draws.

    Raises:
        ValueError: the state holds no look-ahead, or an outer one; the velocity is zero, as it is before the first
            step and after a restart; the optimizer does not move here, or a restart rule takes the step back; the
            step goes along the velocity, so that there is no plane; velocity, step or what they change of the loss is
            no more than rounding.

    Example:
        >>> import jax, jax.numpy as jnp, optax, nagviz as nv
        >>> from nagviz.experiment.anatomy import dissect
        >>> loss = lambda w: (w[0] ** 2 + 10 * w[1] ** 2) / 2
        >>> optimizer, params = nv.nag(0.05, momentum=0.8), jnp.array([4.0, 1.0])
        >>> updates, state = optimizer.update(jax.grad(loss)(params), optimizer.init(params))
        >>> seen = dissect(loss, optimizer, state, optax.apply_updates(params, updates), grid=5)
        >>> print(seen.next_iterate.round(3), list(seen.rivals), seen.cut.values.shape)
        [ 0.265 -0.349] ['heavy ball', 'gradient descent'] (5, 5)
    """
    batches = [batch] if batches is None and batch is not None else batches
    plane, ends, plain = _taken_apart(loss, optimizer, state, params, batch)
    seen = _projected(plane, ends)
    points = {name: at.coordinates for name, at in seen.items()}
    judged = judged or loss
    evaluate = partial(landscape.evaluate, judged, plane, batches=batches, **options)
    cut, *detail = (_evaluated(evaluate, axes, knots) for axes in _windows(points, grid))
    _require_relief(cut.values, params)
    return Anatomy(
        cut,
        iterate=points["x"],
        lookahead=np.zeros(2),
        next_iterate=points["next x"],
        next_lookahead=points["next y"],
        rivals=_rivals(ends, seen),
        step=step,
        method=method,
        gradient=plain,
        residual=max(float(seen[name].residual) for name in STEP) / _length(plane.axes[0]),
        losses=_losses(judged, params, ends, batches),
        detail=detail[0] if detail else None,
    )


def _evaluated(evaluate: Callable[..., landscape.Slice], axes: list[np.ndarray], knots: int | None):
    if knots is None:
        return evaluate(*axes)
    coarse = evaluate(*(np.linspace(axis[0], axis[-1], knots) for axis in axes), gradient=True)
    return landscape.interpolate(coarse, *axes)


def _taken_apart(loss, optimizer, state, params, batch) -> tuple[landscape.Plane, dict[str, Any], bool]:
    """The plane of a step, its points as displacements from y_t, and whether the step goes along the gradient."""
    move = jax.jit(partial(_move, loss, optax.with_extra_args_support(optimizer)))
    back, rested = _back(state, params), at_rest(state)
    moved = move(state, params, batch)
    own = _own_step(moved, move(rested, params, batch))
    _require_more_than_rounding(params, back, own, lambda nudged: move(rested, nudged, batch))
    plain = _is_along(own, moved.gradient)
    ends = dict(zip(STEP, (back, moved.step, _sum(moved.step, moved.velocity)), strict=True))
    if _length(moved.step):  # a heavy ball would have itself for a rival
        there = move(rested, _sum(params, back), batch).step
        ends |= zip(GRADIENT if plain else OTHER, (there, _sum(back, there)), strict=True)
    return _plane(params, back, own), ends, plain


def _rivals(ends: dict[str, Any], seen: dict[str, landscape.Projection]) -> dict[str, Rival]:
    names = list(ends)[len(STEP) :]
    starts = np.zeros(2), seen["x"].coordinates
    return {
        name: Rival(start, seen[name].coordinates, float(seen[name].residual) / (_length(ends[names[0]]) or 1.0))
        for name, start in zip(names, starts, strict=False)
    }


def _move(loss, optimizer, state, params, batch) -> Moved:
    value, gradient = jax.value_and_grad(lambda p: loss(p) if batch is None else loss(p, batch))(params)
    updates, state = optimizer.update(gradient, state, params, value=value)
    velocity = optim.velocity(state, params)
    return Moved(gradient, jax.tree.map(jnp.subtract, updates, velocity), velocity)


def _sum(one, two):
    return jax.tree.map(jnp.add, one, two)


def _dot(one, two) -> float:
    """In float64, whatever JAX is set to."""
    pairs = zip(map(_wide, jax.tree.leaves(one)), map(_wide, jax.tree.leaves(two)), strict=True)
    return float(sum(np.vdot(a, b).real for a, b in pairs))


def _wide(leaf) -> np.ndarray:
    leaf = np.asarray(leaf)
    return leaf.astype(np.promote_types(leaf.dtype, np.float64))


def _length(tree) -> float:
    return float(np.sqrt(_dot(tree, tree)))


def _is_lookahead(node) -> bool:
    return isinstance(node, optim.LookaheadState)


def at_rest(state):
    """The state as it is, but without velocity."""

    def rest(node):
        return node._replace(displacement=optax.tree.zeros_like(node.displacement)) if _is_lookahead(node) else node

    return jax.tree.map(rest, state, is_leaf=_is_lookahead)


def _back(state, params):
    """From y_t to x_t."""

    def is_outer(node):
        return isinstance(node, optim.OuterState)

    if any(map(is_outer, jax.tree.leaves(state, is_leaf=is_outer))):
        raise ValueError("state is of an outer look-ahead, whose step is many steps long: dissect a plain look-ahead's")
    velocity = optim.velocity(state, params)
    if not _length(velocity):
        raise ValueError(
            "state has a velocity of zero, as before the first step and after a restart: x_t and y_t are one point, "
            "and there is no look-ahead to draw; take another step"
        )
    return jax.tree.map(jnp.negative, velocity)


def _own_step(moved: Moved, standing: Moved):
    """The step without what the velocity adds: alpha d, or gamma d where alpha is 0."""
    own = standing.step if _length(standing.step) else standing.velocity
    if not _length(own):
        raise ValueError("state and batch lead to no step: the gradient is zero, or the optimizer waits for more")
    taken = _length(jax.tree.map(jnp.subtract, moved.step, standing.step))
    if taken > ROUNDING * _length(own):
        raise ValueError("state is one in which a restart rule takes the step back; take another step")
    return own


def _require_more_than_rounding(params, back, own, standing: Callable[[Any], Moved]) -> None:
    """Refuse a velocity as short as what the parameters are rounded by, and a step that turns with that."""
    rounded = jax.tree.map(lambda leaf: leaf * _eps(leaf), params)
    if _length(back) < SHORTEST * _length(rounded):
        raise ValueError(
            f"state has a velocity of length {_length(back):.2g}, no more than the parameters are rounded by: there is "
            "no look-ahead to draw but noise; take an earlier step"
        )
    moved = standing(jax.tree.map(lambda leaf, by: leaf + by * _signs(leaf), params, rounded))
    other = moved.step if _length(moved.step) else moved.velocity
    if _length(jax.tree.map(jnp.subtract, other, own)) > STEADIEST * _length(own):
        raise ValueError(
            f"the step is of length {_length(own):.2g}, and where the parameters are rounded otherwise it is another "
            "one: it is rounding and no gradient; take an earlier step"
        )


def _signs(leaf) -> np.ndarray:
    return np.where(np.arange(np.size(leaf)) % 2, -1, 1).reshape(np.shape(leaf)).astype(leaf.dtype)


def _eps(leaf) -> float:
    return float(jnp.finfo(leaf.dtype).eps)


def _require_relief(values: np.ndarray, params) -> None:
    finite = values[np.isfinite(values)]
    single = float(np.finfo(np.float32).eps)  # in which a loss is summed that is not of float64 alone
    eps = min(single, max(map(_eps, jax.tree.leaves(params))))
    if finite.size and 0 < np.ptp(finite) < FLATTEST * eps * np.abs(finite).max():
        raise ValueError(
            f"the loss changes by {np.ptp(finite):.2g} in the plane of the step, no more than the rounding of "
            f"{np.abs(finite).max():.4g}: it would be drawn as noise; take an earlier step"
        )


def _is_along(step, gradient) -> bool:
    """Whether a step is a multiple of minus the gradient."""
    cosine = _dot(step, gradient) / (_length(step) * _length(gradient) or 1.0)
    return cosine < ROUNDING**2 - 1


def _plane(params, back, own) -> landscape.Plane:
    """Through y_t along the velocity, with axes at right angles and of one length."""
    velocity = jax.tree.map(jnp.negative, back)
    (aa, ab), (_, bb) = landscape.gram(landscape.step_plane(params, velocity, own))
    share, scale = ab / aa, np.sqrt(aa / (bb - ab**2 / aa))
    across = jax.tree.map(lambda s, d: (scale * (share * s - d)).astype(s.dtype), velocity, own)
    labels = f"along the velocity, in units of its length |s| = {np.sqrt(aa):.3g}", "across it"
    return landscape.Plane(params, (velocity, across), labels)


def _projected(plane: landscape.Plane, ends) -> dict[str, landscape.Projection]:
    """Displacements from the origin in the plane: as such, since added to it they would be rounded."""
    flat = landscape.Plane(jax.tree.map(jnp.zeros_like, plane.origin), plane.axes)
    return {name: landscape.project(flat, end) for name, end in ends.items()}


def _windows(points: dict[str, np.ndarray], grid: int) -> list[list[np.ndarray]]:
    """Coordinates of the slice, and of a detail where the step is short beside the velocity.

    The slice holds the step with a margin, and rivals where they are not far off. Where there is a detail, the step is
    at the slice's upper edge, so that the detail has room below.
    """
    tip = points["next x"] if np.any(points["next x"]) else points["next y"]
    step = np.array([points["x"], np.zeros(2), tip])
    rivals = {name: at for name, at in points.items() if name not in STEP}
    reach = REACH * np.ptp(step, axis=0).max()
    low, high = _box([*step, *rivals.values()])
    low, high = np.maximum(low, step.min(0) - reach), np.minimum(high, step.max(0) + reach)
    near = _box([np.zeros(2), tip, *(rivals[name] for name in (GRADIENT[0], OTHER[0]) if name in rivals)])
    whole, detail = _grid(low, high, grid), _grid(*near, grid, WIDE)
    if np.ptp(whole[0]) < LARGER * np.ptp(detail[0]):
        return [whole]
    low[1] = min(high[1] - TALL * (high - low)[0], near[0][1] - ROOM * (high - low)[0])
    return [_grid(low, high, grid), detail]


def _box(points) -> tuple[np.ndarray, np.ndarray]:
    return np.min(points, axis=0), np.max(points, axis=0)


def _grid(low: np.ndarray, high: np.ndarray, grid: int, tallest: float = 1 / SQUARISH) -> list[np.ndarray]:
    halves = (high - low) / 2 + MARGIN * (high - low).max()
    halves = np.maximum(halves, [halves[1] / tallest, SQUARISH * halves[0]])
    middle = (low + high) / 2
    return [np.linspace(*ends, grid) for ends in zip(middle - halves, middle + halves, strict=True)]


def _losses(loss, params, ends, batches) -> dict[str, float]:
    """The loss at the ends themselves."""
    of = jax.jit(loss)
    batches = None if batches is None else list(batches)

    def mean(point):
        if batches is None:
            return float(of(point))
        sizes = [len(jax.tree.leaves(batch)[0]) for batch in batches]
        return float(np.average([of(point, batch) for batch in batches], weights=sizes))

    return {name: mean(_sum(params, end)) for name, end in ends.items()} | {"y": mean(params)}
