"""Networks taken apart into parameters and pure functions of them; the losses and measures of the tasks.

Training carries nothing but parameters and the optimizer's state. So batch norm uses the statistics of the batch
that it sees, and what a network needs to be evaluated on other samples is estimated anew at its parameters:

    >>> model = take_apart(nnx.BatchNorm(1, epsilon=0, rngs=nnx.Rngs(0)))
    >>> batch = jnp.array([[0.0], [4.0]])
    >>> print(model.apply(model.params, batch).ravel())               # as in training
    [-1.  1.]
    >>> seen = model.statistics(model.params, [batch, batch + 4])     # over batches of the training set
    >>> print(model.apply_with(model.params, seen, batch + 4).ravel())
    [0.        1.4142135]
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import nnx

from nagviz.experiment.networks import CNN, MLP, Activation, Autoencoder, Padded, ResNet, Shortcut, Transformer


class Model(NamedTuple):
    """A pure function of its parameters."""

    params: Any  # the start, a tree of arrays
    apply: Callable[[Any, jax.Array], jax.Array]  # params, inputs (samples, ...) -> outputs, as in training
    # Where there is batch norm: params, inputs or a list of batches of them -> what its layers see.
    statistics: Callable[[Any, Any], Any] | None = None
    apply_with: Callable[[Any, Any, jax.Array], jax.Array] | None = None  # params, statistics, inputs -> outputs


class Moments(NamedTuple):
    """What a batch norm sees of a feature. Means over batches of all three are those of the batches together.

    The variance over all is the mean of the variances, and the variance of the means, which is the mean of the
    squares less the square of the mean. Of one batch that is 0, so that nothing is lost to cancellation.
    """

    mean: jax.Array  # (features,)
    variance: jax.Array  # (features,)
    square: jax.Array  # (features,): of the mean


def take_apart(model: nnx.Module) -> Model:
    """A module as a tree of its parameters and pure functions of them; the module is left as it is.

    Every `nnx.BatchNorm` uses the statistics of the batch in `apply`, whatever its momentum, and in `apply_with`
    those that `statistics` has estimated. For that it must be called once a pass, and without
    `use_running_average`.

    Args:
        model: a Flax nnx module, called with inputs (samples, ...).

    Raises:
        ValueError: state that training would have to carry: dropout that is not deterministic, a cache, spectral
            norm, variables of the module's own.

    Source: Ioffe and Szegedy (2015); estimated anew at every point as by Garipov et al. (2018), section A.1.
    """
    model = nnx.clone(model)
    _require_no_state(model)
    norms = _norms(model)
    for norm in norms.values():
        norm.momentum = 0.0  # what is kept is then what the last batch had
    training, evaluation = (_functional(model, norms, average) for average in (False, True))
    params = nnx.state(model, nnx.Param)

    def apply(params, inputs):
        return training(params)(inputs)

    if not norms:
        return Model(params, apply)

    @jax.jit
    def observe(params, inputs):
        seeing = training(params)
        seeing(inputs)
        return {name: _moments(norm) for name, norm in _norms(seeing).items()}

    def statistics(params, inputs):
        batches = inputs if isinstance(inputs, list | tuple) else [inputs]
        total = sum(map(len, batches))
        shares, parts = [], []
        for size in dict.fromkeys(map(len, batches)):  # those of one size by one loop, compiled once
            alike = jnp.stack([batch for batch in batches if len(batch) == size])
            shares += [size / total] * len(alike)
            parts.append(jax.lax.map(partial(observe, params), alike))
        seen = jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *parts)
        return jax.tree.map(lambda leaf: jnp.tensordot(jnp.array(shares, leaf.dtype), leaf, 1), seen)

    def apply_with(params, statistics, inputs):
        model = evaluation(params)
        for name, norm in _norms(model).items():
            mean, variance, square = statistics[name]
            norm.mean[...] = mean
            norm.var[...] = variance + jnp.maximum(square - mean**2, 0)  # rounding may leave it under 0
        return model(inputs)

    return Model(params, apply, statistics, apply_with)


def _functional(model: nnx.Module, norms: dict[str, nnx.BatchNorm], average: bool) -> Callable[[Any], nnx.Module]:
    """A function that puts the module together, its batch norms set to use the average, or the batch's own."""
    for norm in norms.values():
        norm.use_running_average = average
    graph, _, rest = nnx.split(model, nnx.Param, ...)
    # Mapped, since a merged module keeps the very variables that it is given, and batch norm writes into them.
    return lambda params: nnx.merge(graph, params, jax.tree.map(lambda leaf: leaf, rest))


def _norms(model: nnx.Module) -> dict[str, nnx.BatchNorm]:
    modules = nnx.iter_modules(model)
    return {_place(path): part for path, part in modules if isinstance(part, nnx.BatchNorm)}


def _moments(norm: nnx.BatchNorm) -> Moments:
    mean = norm.mean[...]
    return Moments(mean, norm.var[...], mean**2)


def _require_no_state(model: nnx.Module) -> None:
    for path, part in nnx.iter_modules(model):
        rate = getattr(part, "rate" if isinstance(part, nnx.Dropout) else "dropout_rate", 0)
        if rate and not getattr(part, "deterministic", None):
            raise ValueError(
                f"{_place(path)} drops a share of {rate} at random, and training carries no random state; "
                "give it deterministic=True, or a rate of 0"
            )
    _, _, statistics, _, rest = nnx.split(model, nnx.Param, nnx.BatchStat, nnx.RngState, ...)
    own = _norms(model)
    for path, variable in [*nnx.to_flat_state(statistics), *nnx.to_flat_state(rest)]:
        if _place(path[:-1]) not in own:
            raise ValueError(
                f"{_place(path)} is a {type(variable).__name__}, and training carries nothing but parameters; "
                "a model may have nnx.Param and nnx.BatchNorm"
            )


def _place(path: Sequence[Any]) -> str:
    return "/".join(map(str, path))


def mlp(sizes: Sequence[int], seed: int, activation: Activation = nnx.relu) -> Model:
    """A multilayer perceptron with layers of the given sizes, first the inputs, last the outputs."""
    return take_apart(MLP(sizes, activation=activation, rngs=nnx.Rngs(seed)))


def article(sample_shape: Sequence[int], outputs: int, seed: int) -> Model:
    """The network of the article that this project started from: 100 inputs, a dense layer of 10, a head.

    Raises:
        ValueError: samples that are not 100 numbers.
    """
    if math.prod(sample_shape) != 100:
        raise ValueError(
            f"the article's network takes 100 numbers a sample, as 10 x 10 pixels, got {_shown(sample_shape)}"
        )
    return mlp((100, 10, outputs), seed)


def autoencoder(sizes: Sequence[int], seed: int, *, fan_in: int = 15) -> Model:
    """Sigmoid layers of the given sizes, first the inputs, last the linear code, and the same ones back.

    Each unit starts with `fan_in` inputs of weight N(0, 1), or all where there are fewer; biases start at 0.

    Source: Hinton and Salakhutdinov (2006); Sutskever et al. (2013), section 3.
    """
    return take_apart(Autoencoder(sizes, fan_in=fan_in, rngs=nnx.Rngs(seed)))


def cnn(sample_shape: Sequence[int], channels: Sequence[int], outputs: int, seed: int) -> Model:
    """Convolutions of 3 x 3 with ReLU and max pools of 2 x 2, one for each number of channels, and a dense layer.

    Raises:
        ValueError: samples that are no images, or such as the pools leave nothing of.
    """
    _require_images("a CNN", sample_shape)
    if min(sample_shape[:2]) >> len(channels) == 0:
        raise ValueError(
            f"{len(channels)} pools of 2 x 2 need images of at least {2 ** len(channels)} pixels a side, "
            f"got {_shown(sample_shape)}; give fewer channels"
        )
    return take_apart(CNN(sample_shape, channels, outputs, rngs=nnx.Rngs(seed)))


def resnet(
    sample_shape: Sequence[int],
    outputs: int,
    seed: int,
    *,
    depth: int,
    width: int = 16,
    shortcut: Shortcut | None = Padded,
) -> Model:
    """The residual network for CIFAR of `depth` = 6n + 2 layers, with batch norm; no paths where shortcut is None.

    Raises:
        ValueError: samples that are no images; a depth that is not 6n + 2.
    """
    _require_images("a ResNet", sample_shape)
    if depth < 8 or depth % 6 != 2:
        raise ValueError(f"depth must be 6n + 2, as 20 or 56, got {depth}")
    return take_apart(
        ResNet(sample_shape[-1], outputs, blocks=depth // 6, width=width, shortcut=shortcut, rngs=nnx.Rngs(seed))
    )


class Sizes(NamedTuple):
    """How large a transformer is."""

    width: int  # numbers at each place
    heads: int  # of attention, among which the width is shared
    layers: int
    length: int | None = None  # places that it knows; those of a sample if left out
    tied: bool = False  # whether the rows of the embedding are the head's weights, too


def transformer(sample_shape: Sequence[int], vocabulary: int, sizes: Sizes, seed: int) -> Model:
    """A causal transformer over tokens (samples, length): the logits of the next one at every place.

    Raises:
        ValueError: samples that are no sequences, or longer than the places it knows; heads that do not divide width.
    """
    if len(sample_shape) != 1:
        raise ValueError(f"a transformer takes sequences of tokens (length), got {_shown(sample_shape)}")
    width, heads, layers, length, tied = sizes
    if width % heads:
        raise ValueError(f"heads must divide width = {width}, got {heads}")
    length = sample_shape[0] if length is None else length
    if length < sample_shape[0]:
        raise ValueError(f"length must be at least the {sample_shape[0]} tokens of a sample, got {length}")
    rngs = nnx.Rngs(seed)
    return take_apart(Transformer(vocabulary, length, width=width, heads=heads, layers=layers, tied=tied, rngs=rngs))


def _require_images(who: str, sample_shape: Sequence[int]) -> None:
    if len(sample_shape) != 3:
        raise ValueError(f"{who} takes images (height, width, channels), got {_shown(sample_shape)}")


def _shown(sample_shape: Sequence[int]) -> str:
    return f"samples of shape {tuple(sample_shape)}"


def cross_entropy(outputs: jax.Array, targets: jax.Array) -> jax.Array:
    """-log softmax(outputs)[target], a mean over all targets: one a sample, or one a character."""
    return optax.softmax_cross_entropy_with_integer_labels(outputs, targets).mean()


def accuracy(outputs: jax.Array, targets: jax.Array) -> jax.Array:
    """The share of targets that have the largest output."""
    return (outputs.argmax(-1) == targets).mean()


def half_squared_error(outputs: jax.Array, targets: jax.Array) -> jax.Array:
    """|outputs - targets|^2 / 2, summed over the numbers of a sample, a mean over the samples."""
    return squared_error(outputs, targets) / 2


def squared_error(outputs: jax.Array, targets: jax.Array) -> jax.Array:
    """|outputs - targets|^2, summed over the numbers of a sample, a mean over the samples."""
    outputs, targets = _rows(outputs, targets)
    return jnp.sum((outputs - targets) ** 2, axis=1).mean()


def logistic_cross_entropy(outputs: jax.Array, targets: jax.Array) -> jax.Array:
    """-t log s - (1 - t) log(1 - s), s = sigmoid(outputs): a sum over a sample's numbers t, a mean over the samples."""
    return optax.sigmoid_binary_cross_entropy(*_rows(outputs, targets)).sum(1).mean()


def reconstruction_error(outputs: jax.Array, targets: jax.Array) -> jax.Array:
    """|sigmoid(outputs) - targets|^2, summed over the numbers of a sample, a mean over the samples."""
    return squared_error(nnx.sigmoid(outputs), targets)


def _rows(outputs: jax.Array, targets: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Both as (samples, numbers): left as they are, (samples, 1) and (samples,) would be spread against each other."""
    rows = outputs.reshape(len(outputs), -1), targets.reshape(len(targets), -1)
    if rows[0].shape != rows[1].shape:
        raise ValueError(f"outputs must hold a number for each of targets {targets.shape}, got {outputs.shape}")
    return rows


class Score(NamedTuple):
    """What is measured on test samples."""

    name: str
    function: Callable[[jax.Array, jax.Array], jax.Array]  # outputs, targets -> ()


LOSSES = {  # by task: (outputs, targets) -> ()
    "classification": cross_entropy,
    "regression": half_squared_error,
    "reconstruction": logistic_cross_entropy,
    "characters": cross_entropy,
}
QUANTITIES = {  # what these are called
    "classification": "cross entropy",
    "regression": "half squared error",
    "reconstruction": "cross entropy",
    "characters": "cross entropy per character",
}
SCORES = {
    "classification": Score("test accuracy", accuracy),
    "regression": Score("test error", squared_error),
    "reconstruction": Score("test error", reconstruction_error),
    "characters": Score("test accuracy", accuracy),
}
