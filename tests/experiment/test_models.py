"""Models are pure functions of their parameters; batch norm carries nothing; losses are those that are named."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import nagviz as nv
from nagviz.experiment import models, networks


def drawn(make, seed=0):
    """A module whose parameters are drawn by NumPy: its own initialisers would each be compiled."""
    graph, state = nnx.split(nnx.eval_shape(lambda: make(rngs=nnx.Rngs(0))))
    rng = np.random.default_rng(seed)
    leaves, tree = jax.tree.flatten(state)
    filled = [jnp.asarray(rng.normal(0, 0.5, leaf.shape), leaf.dtype) for leaf in leaves]
    return nnx.merge(graph, jax.tree.unflatten(tree, filled))


def numbers(make):
    """How many parameters a module has; nothing is drawn."""
    return sum(
        leaf.size for leaf in jax.tree.leaves(nnx.state(nnx.eval_shape(lambda: make(rngs=nnx.Rngs(0))), nnx.Param))
    )


def test_a_model_is_a_pure_function_of_its_parameters():
    model = models.mlp((4, 3, 2), seed=0)
    inputs = jnp.ones((5, 4))
    before = model.apply(model.params, inputs)
    doubled = jax.tree.map(lambda leaf: 2 * leaf, model.params)
    kernels = [np.asarray(leaf) for leaf in jax.tree.leaves(model.params) if leaf.ndim == 2]
    # Biases start at zero: the logits are relu(x W1) W2, homogeneous of degree 2.
    np.testing.assert_allclose(before, np.maximum(inputs @ kernels[0], 0) @ kernels[1], rtol=1e-5)
    np.testing.assert_allclose(model.apply(doubled, inputs), 4 * before, rtol=1e-5)
    np.testing.assert_array_equal(model.apply(model.params, inputs), before)


def test_a_seed_is_a_start():
    first, again, other = (models.mlp((4, 3, 2), seed=s).params for s in (0, 0, 1))
    assert jax.tree.all(jax.tree.map(jnp.array_equal, first, again))
    assert not jax.tree.all(jax.tree.map(jnp.array_equal, first, other))


def test_the_article_has_a_dense_layer_of_ten_and_a_head():
    model = models.article((10, 10, 1), 10, seed=0)
    assert sum(leaf.size for leaf in jax.tree.leaves(model.params)) == 101 * 10 + 11 * 10
    assert model.apply(model.params, jnp.ones((2, 10, 10, 1))).shape == (2, 10)


@pytest.mark.parametrize("activation", [jnp.tanh, nnx.sigmoid])
def test_an_activation_stands_between_the_layers_and_not_behind_the_last(activation):
    model = models.mlp((4, 3, 2), 0, activation)
    first, last = (model.params["layers"][i]["kernel"][...] for i in (0, 1))
    inputs = jnp.linspace(-3, 3, 20).reshape(5, 4)
    np.testing.assert_allclose(
        model.apply(model.params, inputs.reshape(5, 2, 2)), activation(inputs @ first) @ last, rtol=1e-5, atol=1e-6
    )


def test_each_unit_of_the_autoencoder_starts_with_fifteen_inputs_or_all_that_there_are():
    model = models.autoencoder((40, 6), seed=0)
    assert model.apply(model.params, jnp.ones((2, 8, 5, 1))).shape == (2, 40)
    kernels = [np.asarray(layer["kernel"][...]) for layer in model.params["layers"].values()]
    assert [kernel.shape for kernel in kernels] == [(40, 6), (6, 40)]
    for kernel in kernels:
        assert (np.count_nonzero(kernel, axis=0) == min(15, len(kernel))).all()
    assert len({tuple(np.flatnonzero(unit)) for unit in kernels[0].T}) == 6  # units differ in what they see
    assert not any(layer["bias"][...].any() for layer in model.params["layers"].values())
    weights = kernels[1].ravel()
    assert abs(weights.mean()) < 4 / np.sqrt(len(weights))
    assert abs(weights.std() - 1) < 4 / np.sqrt(2 * len(weights))


def test_the_code_of_the_autoencoder_is_linear_and_all_else_is_squashed():
    module = drawn(partial(networks.Autoencoder, (5, 4, 2), fan_in=15))
    x = jnp.linspace(-1, 1, 15).reshape(3, 5)
    a, b, c, d = module.layers
    np.testing.assert_allclose(module(x), d(nnx.sigmoid(c(b(nnx.sigmoid(a(x)))))), rtol=1e-6)


def test_a_cnn_has_the_parameters_of_its_convolutions_and_its_head():
    make = partial(networks.CNN, (28, 28, 1), (16, 32), 10)
    assert numbers(make) == (9 * 1 + 1) * 16 + (9 * 16 + 1) * 32 + (7 * 7 * 32 + 1) * 10
    module = drawn(partial(networks.CNN, (5, 7, 2), (3, 4), 6))
    assert module(jnp.ones((2, 5, 7, 2))).shape == (2, 6)


def residual_numbers(depth, width, channels, outputs, projections):
    """Of He et al. (2016), section 4.2: 2n convolutions of each width, and a scale and an offset behind each."""
    n = (depth - 2) // 6
    stem = 9 * channels * width + 2 * width
    first = 2 * n * (9 * width**2 + 2 * width)
    others = [9 * (w // 2) * w + (2 * n - 1) * 9 * w**2 + 2 * n * 2 * w for w in (2 * width, 4 * width)]
    paths = [(w // 2) * w + 2 * w for w in (2 * width, 4 * width)] if projections else []
    return stem + first + sum(others) + sum(paths) + (4 * width + 1) * outputs


@pytest.mark.parametrize("shortcut", [networks.Padded, networks.Projected, None])
@pytest.mark.parametrize(("depth", "millions"), [(20, 0.27), (56, 0.85)])
def test_a_resnet_has_the_parameters_of_the_paper(depth, millions, shortcut):
    make = partial(networks.ResNet, 3, 10, blocks=depth // 6, shortcut=shortcut)
    wanted = residual_numbers(depth, 16, 3, 10, projections=shortcut is networks.Projected)
    assert numbers(make) == wanted
    if shortcut is networks.Padded:
        assert round(wanted / 1e6, 2) == millions


def silenced(module, norms=()):
    """The module with all convolutions zero, and the offsets of batch norm too."""
    for _, part in nnx.iter_modules(module):
        if isinstance(part, nnx.Conv):
            part.kernel[...] = jnp.zeros_like(part.kernel[...])
        if isinstance(part, nnx.BatchNorm):
            part.bias[...] = jnp.zeros_like(part.bias[...])
    return module


IMAGES = jnp.asarray(np.random.default_rng(1).uniform(0, 1, (6, 4, 4, 2)), jnp.float32)


def test_a_block_whose_weights_are_zero_passes_its_input_on_by_the_path_alone():
    block = silenced(drawn(partial(networks.Block, 2, 2, 1, networks.Padded)))
    np.testing.assert_array_equal(block(IMAGES), IMAGES)
    shrinking = silenced(drawn(partial(networks.Block, 2, 4, 2, networks.Padded)))
    np.testing.assert_array_equal(shrinking(IMAGES)[..., :2], IMAGES[:, ::2, ::2])
    np.testing.assert_array_equal(shrinking(IMAGES)[..., 2:], 0)
    without = silenced(drawn(partial(networks.Block, 2, 4, 2, None)))
    np.testing.assert_array_equal(without(IMAGES), np.zeros((6, 2, 2, 4)))


@pytest.mark.parametrize("shortcut", [networks.Padded, None])
def test_without_paths_a_resnet_of_silent_blocks_is_constant(shortcut):
    module = drawn(partial(networks.ResNet, 2, 3, blocks=1, width=2, shortcut=shortcut))
    for block in module.blocks:
        silenced(block)
    logits = module(IMAGES)
    assert logits.shape == (6, 3)
    assert bool(jnp.ptp(logits, axis=0).max() == 0) == (shortcut is None)


def test_a_convolution_of_stride_two_is_centred_on_the_pixels_that_the_shortcut_takes():
    convolution = networks._convolution(2, 2, 3, 2, nnx.Rngs(0))
    convolution.kernel[...] = jnp.zeros((3, 3, 2, 2)).at[1, 1].set(jnp.eye(2))
    np.testing.assert_array_equal(convolution(IMAGES), IMAGES[:, ::2, ::2])


class Normalised(nnx.Module):
    """Two layers, each with batch norm: the second sees what the first has made of its batch."""

    def __init__(self, momentum=0.9):
        rngs = nnx.Rngs(0)
        self.first, self.second = nnx.Linear(3, 4, rngs=rngs), nnx.Linear(4, 2, rngs=rngs)
        self.norm = nnx.BatchNorm(4, momentum=momentum, rngs=rngs)
        self.last = nnx.BatchNorm(2, momentum=momentum, rngs=rngs)

    def __call__(self, x):
        return self.last(self.second(nnx.relu(self.norm(self.first(x)))))


SAMPLES = jnp.asarray(np.random.default_rng(2).normal(1, 2, (10, 3)), jnp.float32)
OTHERS = jnp.asarray(np.random.default_rng(3).normal(0, 1, (5, 3)), jnp.float32)


@pytest.fixture(scope="module")
def normalised():
    return models.take_apart(Normalised())


def test_batch_norm_in_training_is_that_of_flax_and_leaves_nothing_behind(normalised):
    module = Normalised()
    module.train()
    expected = module(SAMPLES)
    np.testing.assert_array_equal(normalised.apply(normalised.params, SAMPLES), expected)
    normalised.apply(normalised.params, OTHERS)
    np.testing.assert_array_equal(normalised.apply(normalised.params, SAMPLES), expected)
    assert {type(v) for _, v in nnx.to_flat_state(normalised.params)} == {nnx.Param}


def test_statistics_of_a_batch_are_those_of_a_norm_without_momentum_updated_once(normalised):
    module = Normalised(momentum=0.0)
    module.train()
    module(SAMPLES)
    module.eval()
    with jax.disable_jit():  # a compiled loop rounds otherwise
        seen = normalised.statistics(normalised.params, SAMPLES)
    np.testing.assert_array_equal(normalised.apply_with(normalised.params, seen, OTHERS), module(OTHERS))


def test_statistics_of_several_batches_are_those_of_all_that_the_layers_saw(normalised):
    """Each batch goes through by its own statistics, as in training; what a layer saw is then taken together."""
    module = Normalised()
    batches = [SAMPLES[:4], SAMPLES[4:8], SAMPLES[8:]]
    first = [module.first(batch) for batch in batches]
    second = [module.second(nnx.relu(module.norm(x, use_running_average=False))) for x in first]
    seen = normalised.statistics(normalised.params, batches)
    for name, parts in (("norm", first), ("last", second)):
        mean, variance, square = seen[name]
        whole = np.concatenate(parts).astype(np.float64)
        np.testing.assert_allclose(mean, whole.mean(0), rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(variance + square - mean**2, whole.var(0), rtol=1e-5)
        part = getattr(module, name)
        part.mean[...], part.var[...] = jnp.float32(whole.mean(0)), jnp.float32(whole.var(0))
    module.eval()
    np.testing.assert_allclose(normalised.apply_with(normalised.params, seen, OTHERS), module(OTHERS), rtol=1e-5)
    assert not np.allclose(seen["last"].variance, np.var(second[0], axis=0), rtol=0.1)


def test_taking_a_module_apart_leaves_it_as_it_was():
    module = Normalised()
    models.take_apart(module)
    assert (module.norm.momentum, module.norm.use_running_average) == (0.9, False)
    np.testing.assert_array_equal(module.norm.mean[...], 0)


def test_slices_of_a_model_with_batch_norm_are_the_plain_loop_in_both_ways(normalised):
    batches = [(SAMPLES[:6], jnp.arange(6) % 2), (SAMPLES[6:], jnp.arange(4) % 2)]
    start, params = normalised.params, jax.tree.leaves(normalised.params)
    plane = nv.Plane(start, tuple(jax.tree.map(lambda leaf, n=n: jnp.sin(n + leaf), start) for n in (1, 2)))
    x, y = np.array([-0.5, 0.0, 0.5]), np.array([0.0, 1.0])

    def training(params, batch):
        return models.cross_entropy(normalised.apply(params, batch[0]), batch[1])

    def evaluation(params, batch, statistics):
        return models.cross_entropy(normalised.apply_with(params, statistics, batch[0]), batch[1])

    def estimate(params, batch):
        return normalised.statistics(params, batch[0])

    @jax.jit
    def plain(a, b):
        here = jax.tree.map(lambda p, u, v: p + a * u + b * v, start, *plane.axes)
        seen = normalised.statistics(here, [batch[0] for batch in batches])
        shares = 0.6, 0.4
        own = sum(s * training(here, batch) for s, batch in zip(shares, batches, strict=True))
        return own, sum(s * evaluation(here, batch, seen) for s, batch in zip(shares, batches, strict=True))

    expected = np.array([[plain(a, b) for a in x] for b in y])
    effort = nv.Effort(way="map", points=6, linear=True)
    own = nv.evaluate(training, plane, x, y, batches=batches, statistics="batch", effort=effort)
    again = nv.evaluate(evaluation, plane, x, y, batches=batches, statistics=estimate, effort=effort)
    np.testing.assert_allclose(own.values, expected[..., 0], rtol=2e-5)
    np.testing.assert_allclose(again.values, expected[..., 1], rtol=2e-5)
    assert (own.statistics, again.statistics, len(params)) == ("batch", "recomputed", 8)
    assert np.abs(own.values / again.values - 1).max() > 0.01


class Dropping(nnx.Module):
    def __init__(self, deterministic):
        self.dropout = nnx.Dropout(0.5, deterministic=deterministic, rngs=nnx.Rngs(1))
        self.head = nnx.Linear(3, 2, rngs=nnx.Rngs(0))

    def __call__(self, x):
        return self.head(self.dropout(x))


class Counting(nnx.Module):
    def __init__(self):
        self.calls = nnx.Variable(jnp.zeros(()))
        self.head = nnx.Linear(3, 2, rngs=nnx.Rngs(0))


def test_state_that_training_would_have_to_carry_is_refused_by_its_place():
    with pytest.raises(ValueError, match=r"dropout drops a share of 0\.5 at random"):
        models.take_apart(Dropping(deterministic=False))
    with pytest.raises(ValueError, match="calls is a Variable"):
        models.take_apart(Counting())
    still = models.take_apart(Dropping(deterministic=True))
    assert still.statistics is None
    np.testing.assert_array_equal(still.apply(still.params, OTHERS), nnx.Linear(3, 2, rngs=nnx.Rngs(0))(OTHERS))


@pytest.mark.parametrize("tied", [False, True])
def test_a_transformer_has_the_parameters_of_its_parts(tied):
    make = partial(networks.Transformer, 30, 16, width=12, heads=3, layers=2, tied=tied)
    layer = 4 * (12 * 12 + 12) + (12 * 48 + 48) + (48 * 12 + 12) + 2 * 2 * 12
    assert numbers(make) == 30 * 12 + 16 * 12 + 2 * layer + 2 * 12 + (0 if tied else 12 * 30)


SMALL = partial(networks.Transformer, 5, 6, width=4, heads=2, layers=2, tied=True)


def test_a_later_character_changes_no_earlier_output():
    model = models.take_apart(drawn(SMALL))
    apply = jax.jit(model.apply)
    tokens = jnp.array([[0, 1, 2, 3, 4, 0]])
    before = apply(model.params, tokens)
    assert before.shape == (1, 6, 5)
    for place in range(6):
        after = apply(model.params, tokens.at[0, place].set((tokens[0, place] + 1) % 5))
        np.testing.assert_array_equal(after[:, :place], before[:, :place])
        assert (after[:, place:] != before[:, place:]).any(-1).all()


def test_all_networks_have_finite_gradients_under_jit():
    tokens = jnp.arange(12).reshape(2, 6) % 5
    labels = jnp.arange(6) % 3
    for make, inputs, targets, task in (
        (partial(networks.CNN, (4, 4, 2), (3,), 3), IMAGES, labels, "classification"),
        (partial(networks.ResNet, 2, 3, blocks=1, width=2), IMAGES, labels, "classification"),
        (partial(networks.Autoencoder, (32, 2), fan_in=15), IMAGES, IMAGES, "reconstruction"),
        (partial(networks.MLP, (32, 1)), IMAGES, IMAGES[:, 0, 0, 0], "regression"),
        (SMALL, tokens, jnp.roll(tokens, -1, 1), "characters"),
    ):
        model = models.take_apart(drawn(make))

        def loss(params, model=model, task=task, inputs=inputs, targets=targets):
            outputs = model.apply(params, inputs)
            return models.LOSSES[task](outputs, targets), models.SCORES[task].function(outputs, targets)

        (value, score), gradient = jax.jit(jax.value_and_grad(loss, has_aux=True))(model.params)
        assert value.shape == score.shape == ()
        assert np.isfinite([value, score]).all()
        assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))
        assert max(np.abs(leaf).max() for leaf in jax.tree.leaves(gradient)) > 0


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (
            lambda: models.cnn((64,), (16,), 10, 0),
            r"a CNN takes images \(height, width, channels\), got samples of shape \(64,\)",
        ),
        (lambda: models.cnn((7, 28, 1), (4, 4, 4), 10, 0), "3 pools of 2 x 2 need images of at least 8 pixels a side"),
        (lambda: models.resnet((8, 8), 10, 0, depth=20), "a ResNet takes images"),
        (lambda: models.resnet((8, 8, 3), 10, 0, depth=21), "depth must be 6n . 2, as 20 or 56, got 21"),
        (lambda: models.article((64,), 10, 0), "takes 100 numbers a sample"),
        (lambda: models.transformer((8, 8, 1), 30, models.Sizes(8, 2, 1), 0), "takes sequences of tokens"),
        (
            lambda: models.transformer((9,), 30, models.Sizes(8, 2, 1, length=8), 0),
            "length must be at least the 9 tokens",
        ),
        (lambda: models.transformer((9,), 30, models.Sizes(8, 3, 1), 0), "heads must divide width = 8, got 3"),
    ],
)
def test_samples_that_do_not_fit_are_refused_with_what_was_expected(make, reason):
    with pytest.raises(ValueError, match=reason):
        make()


def test_losses_are_means_over_samples_of_what_their_names_say():
    rng = np.random.default_rng(0)
    logits, labels = rng.normal(size=(4, 3)).astype(np.float32), np.array([0, 2, 1, 1])
    shares = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    entropy = -np.log(shares[np.arange(4), labels]).mean()
    assert models.LOSSES["classification"](logits, labels) == pytest.approx(entropy, rel=1e-5)
    assert models.LOSSES["characters"](logits.reshape(2, 2, 3), labels.reshape(2, 2)) == pytest.approx(
        entropy, rel=1e-5
    )
    right = (shares.argmax(1) == labels).mean()
    assert models.SCORES["classification"].function(logits, labels) == pytest.approx(right)
    assert models.SCORES["characters"].function(logits.reshape(2, 2, 3), labels.reshape(2, 2)) == pytest.approx(right)
    pixels = rng.uniform(size=(4, 3, 1)).astype(np.float32)
    squash = 1 / (1 + np.exp(-logits))
    flat = pixels[..., 0]
    logistic = -(flat * np.log(squash) + (1 - flat) * np.log(1 - squash)).sum(1).mean()
    assert models.LOSSES["reconstruction"](logits, pixels) == pytest.approx(logistic, rel=1e-5)
    assert models.SCORES["reconstruction"].function(logits, pixels) == pytest.approx(
        ((squash - flat) ** 2).sum(1).mean(), rel=1e-5
    )


def test_a_column_of_outputs_is_not_spread_against_a_row_of_targets():
    outputs, targets = np.array([[1.0], [2.0]], np.float32), np.array([0.0, 4.0], np.float32)
    assert models.LOSSES["regression"](outputs, targets) == (1 + 4) / 4
    assert models.SCORES["regression"].function(outputs, targets) == (1 + 4) / 2
    with pytest.raises(ValueError, match="a number for each of targets"):
        models.LOSSES["regression"](np.ones((2, 3)), targets)
