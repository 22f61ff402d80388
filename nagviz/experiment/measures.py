"""What is measured of a point, over samples that need not fit in one batch."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from nagviz.experiment.models import Model

_NUMBERS = 2**24  # of the points that are held at once
AT_ONCE = 2048  # samples in a batch; what has no more is one, and its mean is taken as a whole


class Measure(NamedTuple):
    """A number of a point, and what it is worked out from."""

    of: Callable[[Any, Any], jax.Array]  # parameters, samples -> ()
    samples: Any = None  # given, not closed over: a constant of that size would be compiled in


def of_point(function: Callable[[Any], jax.Array]) -> Measure:
    """A measure that needs no samples."""
    return Measure(lambda params, samples: function(params))


def predictor(model: Model, calibration: Any) -> Callable[[Any], Callable[[Any], Any]]:
    """A model as it is measured: of parameters, then of inputs, with statistics of its own at every point.

    Args:
        model: of which `statistics` may be None.
        calibration: training inputs that its statistics are taken over.
    """

    def at(params):
        if model.statistics is None:
            return lambda inputs: model.apply(params, inputs)
        statistics = model.statistics(params, calibration)
        return lambda inputs: model.apply_with(params, statistics, inputs)

    return at


def mean_over(
    predict: Callable[[Any], Callable[[Any], Any]], score: Callable[[Any, Any], jax.Array], at_once: int = AT_ONCE
) -> Callable[[Any, Any], jax.Array]:
    """The mean of a score over all samples, batch by batch, each weighted by its samples.

    Args:
        predict: of parameters, then of inputs.
        score: (outputs, targets) -> their mean.
        at_once: samples in a batch.

    Returns:
        A function of parameters and samples.
    """

    def mean(params, samples):
        of_inputs = predict(params)
        count = len(jax.tree.leaves(samples)[0])

        def of_batch(start, length):
            batch = jax.tree.map(lambda leaf: jax.lax.dynamic_slice_in_dim(leaf, start, length), samples)
            return score(of_inputs(batch.inputs), batch.targets)

        if count <= at_once:
            return score(of_inputs(samples.inputs), samples.targets)
        whole, rest = divmod(count, at_once)
        total = at_once * jax.lax.map(lambda i: of_batch(i * at_once, at_once), jnp.arange(whole)).sum()
        return (total + (rest * of_batch(whole * at_once, rest) if rest else 0)) / count

    return mean


def measurer(measures: Mapping[str, Measure]) -> Callable[[Any], dict[str, np.ndarray]]:
    """All measures of stacked points: of a tree whose leaves have one more axis in front, arrays by name.

    Points are read and measured some at a time, so that the leaves may lie on disk.
    """
    samples = [measure.samples for measure in measures.values()]

    @jax.jit
    def of_points(points, samples):
        pairs = list(zip(measures.values(), samples, strict=True))
        return jax.lax.map(lambda point: [measure.of(point, drawn) for measure, drawn in pairs], points)

    def measured(points):
        leaves = jax.tree.leaves(points)
        length = max(1, _NUMBERS // max(1, sum(math.prod(leaf.shape[1:]) for leaf in leaves)))
        parts = [of_points(_rows(points, i, i + length), samples) for i in range(0, leaves[0].shape[0], length)]
        columns = zip(*jax.device_get(parts), strict=True)
        return dict(zip(measures, map(np.concatenate, columns), strict=True))

    return measured


def at_both(measured: Callable[[Any], dict[str, np.ndarray]], points: Any, ahead: Any) -> dict[str, np.ndarray]:
    """What is measured of points, and after the first of it the same at the look-ahead points.

    Args:
        measured: of `measurer`.
        points: stacked.
        ahead: likewise; None where they are not kept.
    """
    seen = measured(points)
    if ahead is None:
        return seen
    first, *others = seen
    return {first: seen[first], at_lookahead(first): measured(ahead)[first], **{o: seen[o] for o in others}}


def at_lookahead(name: str) -> str:
    """What a measure is called at the look-ahead points."""
    return f"{name} at look-ahead"


def _rows(points, start: int, stop: int):
    return jax.tree.map(lambda leaf: np.asarray(leaf[start:stop]), points)
