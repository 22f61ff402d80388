"""Data as they come: batches, what they weigh in a mean, and how they are cut into smaller pieces."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import pairwise
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from nagviz.landscape.parameters import require_here


class Split(NamedTuple):
    """Data that are averaged together."""

    name: str
    batches: list[Any]
    shares: np.ndarray  # of the batches, of sum 1


def splits_of(batches, weights) -> list[Split]:
    """A caller's batches, checked: one split, or one for each entry of a dict.

    Raises:
        ValueError: no batch, batches that differ in more than their leading axes, weights that do not fit.
    """
    if batches is None:
        if weights is not None:
            raise ValueError("weights are those of batches; give batches, or leave weights out")
        return [Split("", [None], np.ones(1))]
    if hasattr(batches, "shape") or not isinstance(batches, Iterable):
        raise ValueError(f"batches must be a list of batches, or a dict of such lists, got {type(batches).__name__}")
    named = batches if isinstance(batches, Mapping) else {"": batches}
    if not named:
        raise ValueError("batches must hold at least one entry, got an empty dict")
    given = weights if isinstance(batches, Mapping) else {"": weights}
    return [_split(name, list(held), (given or {}).get(name)) for name, held in named.items()]


def _split(name: str, batches: list[Any], weights) -> Split:
    where = f"batches[{name!r}]" if name else "batches"
    if not batches:
        raise ValueError(f"{where} must hold at least one batch, got none; leave it out for loss(params)")
    batches = [_on_host_where_spread(batch, f"{where}[{n}]") for n, batch in enumerate(batches)]
    first = _form(batches[0])
    for n, batch in enumerate(batches):
        if (form := _form(batch)) != first:
            raise ValueError(f"{where} must differ in their leading axes only: batch {n} is {form}, batch 0 {first}")
    if weights is None and len(batches) > 1 and any(map(_is_unequal, batches)):
        raise ValueError(
            f"{where}: the leaves of a batch have leading axes of different lengths, which do not tell what it weighs; "
            "give weights"
        )
    weights = np.asarray([size_of(batch) for batch in batches] if weights is None else weights, np.float64)
    if weights.shape != (len(batches),) or not np.all(np.isfinite(weights) & (weights >= 0)) or not weights.sum() > 0:
        raise ValueError(f"weights must be {len(batches)} numbers, not negative, one for each batch, got {weights}")
    weighed = [(batch, weight) for batch, weight in zip(batches, weights, strict=True) if weight]
    batches, weights = [batch for batch, _ in weighed], np.array([weight for _, weight in weighed])
    return Split(name, batches, weights / weights.sum())


def _on_host_where_spread(batch, where: str):
    """The same, but that nothing lies on several devices: where points are worked at, data are put."""
    require_here(where, batch, "give each process all samples, as NumPy arrays")
    spread = lambda leaf: isinstance(leaf, jax.Array) and len(leaf.sharding.device_set) > 1  # noqa: E731
    return jax.tree.map(lambda leaf: np.asarray(leaf) if spread(leaf) else leaf, batch)


def size_of(batch) -> int:
    """How many samples: the leading axis of the first leaf that has one; a scale or a key has none."""
    return next((np.shape(leaf)[0] for leaf in jax.tree.leaves(batch) if np.ndim(leaf)), 1)


def _is_unequal(batch) -> bool:
    return len({np.shape(leaf)[0] for leaf in jax.tree.leaves(batch) if np.ndim(leaf)}) > 1


def _form(batch) -> str:
    """The tree, and the shapes and dtypes but for the leading axes."""

    def leaf_form(leaf):
        leaf = leaf if hasattr(leaf, "dtype") else np.asarray(leaf)
        return f"{leaf.dtype}{list(leaf.shape[1:])}"

    return str(jax.tree.map(leaf_form, batch))


def pieces_of(split: Split, samples: int | None):
    """What a split is cut into: a name for what is held, a share of the whole, data."""
    for n, (share, batch) in enumerate(zip(split.shares, split.batches, strict=True)):
        for m, (part, piece) in enumerate(cut_batch(batch, samples)):
            yield (split.name, n, m), share * part, piece


def forms_of(splits: list[Split], samples: int | None) -> list[Any]:
    """The different shapes of data that will be seen, so that all is compiled beforehand."""
    sizes = [{size_of(batch): batch for batch in split.batches} for split in splits]
    return [shape for some in sizes for batch in some.values() for shape in shapes_in(batch, samples)]


def samples_in(batch: Any) -> int | None:
    """The length of the leading axis, where every leaf has the same; None where a batch cannot be cut."""
    lengths = {np.shape(leaf)[:1] for leaf in jax.tree.leaves(batch)}
    return lengths.pop()[0] if len(lengths) == 1 and lengths != {()} else None


def cut_batch(batch: Any, samples: int | None) -> Iterator[tuple[float, Any]]:
    """Pieces of about as many samples as asked, of one or two sizes, each with its share of the batch."""
    for share, window in _windows(samples_in(batch), samples):
        yield share, jax.tree.map(lambda leaf: jnp.asarray(leaf if window is ... else leaf[window]), batch)  # noqa: B023


def neighbours(batch: Any, samples: int) -> Iterator[tuple[Any, Any, Any, float]]:
    """Pairs of pieces beside one another, both as one, and the first's share of that."""
    for (share, one), (other, two) in pairwise(_windows(samples_in(batch), samples)):
        windows = one, two, slice(one.start, two.stop)
        yield *(jax.tree.map(lambda leaf, w=w: jnp.asarray(leaf[w]), batch) for w in windows), share / (share + other)


def shapes_in(batch: Any, samples: int | None) -> list[Any]:
    """The different shapes among those pieces."""
    windows = dict(_windows(samples_in(batch), samples)).values()
    return [jax.eval_shape(lambda tree, w=w: jax.tree.map(lambda leaf: leaf[w], tree), batch) for w in windows]


def _windows(total: int | None, samples: int | None) -> list[tuple[float, Any]]:
    if samples is None or total is None or total <= samples:
        return [(1.0, ...)]
    count = -(-total // samples)
    # A few pieces more, where they are then all of one size: one compiled function.
    count = next((n for n in range(count, count + count // 4 + 1) if total % n == 0), count)
    edges = np.linspace(0, total, count + 1).round().astype(int).tolist()
    return [((stop - start) / total, slice(start, stop)) for start, stop in pairwise(edges)]
