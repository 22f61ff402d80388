"""Neural networks as Flax nnx modules: what they compute, not what they are trained for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import jax
import jax.numpy as jnp
from flax import nnx

Activation = Callable[[jax.Array], jax.Array]


class MLP(nnx.Module):
    """Dense layers with an activation between them; a sample of any shape is read as a vector."""

    def __init__(self, sizes: Sequence[int], *, activation: Activation = nnx.relu, rngs: nnx.Rngs):
        pairs = pairwise(sizes)
        self.layers = nnx.List([nnx.Linear(a, b, rngs=rngs) for a, b in pairs])
        self.activation = activation

    def __call__(self, x: jax.Array) -> jax.Array:
        """Outputs of a batch, (samples, sizes[-1])."""
        x = x.reshape(len(x), -1)
        for layer in self.layers[:-1]:
            x = self.activation(layer(x))
        return self.layers[-1](x)


def sparse(fan_in: int) -> Callable[..., jax.Array]:
    """An initialiser of kernels (inputs, units): each unit has `fan_in` inputs of weight N(0, 1), the others 0.

    A unit has all of its inputs where there are fewer. The sums that a unit sees are then as large in a wide
    layer as in a narrow one, and units differ from the start.

    Source: Martens (2010), section 5; Sutskever et al. (2013), section 3.
    """

    def initialise(key: jax.Array, shape: Sequence[int], dtype=jnp.float32, out_sharding=None) -> jax.Array:
        del out_sharding  # Flax hands it to every initialiser
        chosen, drawn = jax.random.split(key)
        order = jnp.broadcast_to(jnp.arange(shape[0])[:, None], shape)
        ranks = jax.random.permutation(chosen, order, axis=0, independent=True)
        return jnp.where(ranks < fan_in, jax.random.normal(drawn, shape, dtype), 0)

    return initialise


class Autoencoder(nnx.Module):
    """Sigmoid layers down to a linear code, and back up to a logit for every number of the input."""

    def __init__(self, sizes: Sequence[int], *, fan_in: int, rngs: nnx.Rngs):
        there_and_back = [*sizes, *reversed(sizes[:-1])]  # the inputs first, the code in the middle
        self.layers = nnx.List(
            [nnx.Linear(a, b, kernel_init=sparse(fan_in), rngs=rngs) for a, b in pairwise(there_and_back)]
        )
        self.linear = {len(sizes) - 2, len(self.layers) - 1}

    def __call__(self, x: jax.Array) -> jax.Array:
        """Logits of a batch, (samples, sizes[0])."""
        x = x.reshape(len(x), -1)
        for i, layer in enumerate(self.layers):
            x = layer(x) if i in self.linear else nnx.sigmoid(layer(x))
        return x


class CNN(nnx.Module):
    """Convolutions of 3 x 3, each with ReLU and a max pool of 2 x 2, and a dense layer."""

    def __init__(self, sample_shape: Sequence[int], channels: Sequence[int], outputs: int, *, rngs: nnx.Rngs):
        height, width, depth = sample_shape
        pairs = pairwise([depth, *channels])
        self.convolutions = nnx.List([nnx.Conv(a, b, (3, 3), rngs=rngs) for a, b in pairs])
        area = (height >> len(channels)) * (width >> len(channels))
        self.head = nnx.Linear(area * channels[-1], outputs, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        """Outputs of images (samples, height, width, channels), (samples, outputs)."""
        for convolution in self.convolutions:
            x = nnx.max_pool(nnx.relu(convolution(x)), (2, 2), strides=(2, 2))
        return self.head(x.reshape(len(x), -1))


def _convolution(ins: int, outs: int, side: int, stride: int, rngs: nnx.Rngs) -> nnx.Conv:
    """Without a bias, which the norm after it would take away; padded so that stride 2 is centred on every other pixel.

    "SAME" would centre it on the pixels between them, beside those that the shortcut takes.
    """
    return nnx.Conv(
        ins,
        outs,
        (side, side),
        strides=stride,
        padding=side // 2,
        use_bias=False,
        kernel_init=nnx.initializers.he_normal(),
        rngs=rngs,
    )


class Padded(nnx.Module):
    """Shortcut A: every other pixel, and zeros for the channels that are new; it has no parameters."""

    def __init__(self, ins: int, outs: int, stride: int, *, rngs: nnx.Rngs):
        del rngs
        self.stride, self.new = stride, outs - ins

    def __call__(self, x: jax.Array) -> jax.Array:
        """The input in the block's output shape."""
        return jnp.pad(x[:, :: self.stride, :: self.stride], ((0, 0), (0, 0), (0, 0), (0, self.new)))


class Projected(nnx.Module):
    """Shortcut B: a convolution of 1 x 1 with batch norm."""

    def __init__(self, ins: int, outs: int, stride: int, *, rngs: nnx.Rngs):
        self.convolution = _convolution(ins, outs, 1, stride, rngs)
        self.norm = nnx.BatchNorm(outs, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        """The input in the block's output shape."""
        return self.norm(self.convolution(x))


Shortcut = Callable[..., nnx.Module]  # ins, outs, stride, rngs


class Block(nnx.Module):
    """Two convolutions with batch norm, and a path around them where there is a shortcut."""

    def __init__(self, ins: int, outs: int, stride: int, shortcut: Shortcut | None, *, rngs: nnx.Rngs):
        self.first = _convolution(ins, outs, 3, stride, rngs)
        self.first_norm = nnx.BatchNorm(outs, rngs=rngs)
        self.second = _convolution(outs, outs, 3, 1, rngs)
        self.second_norm = nnx.BatchNorm(outs, rngs=rngs)
        self.skip = shortcut is not None
        changes = stride != 1 or ins != outs
        self.path = shortcut(ins, outs, stride, rngs=rngs) if self.skip and changes else None

    def __call__(self, x: jax.Array) -> jax.Array:
        """relu(F(x) + x), or relu(F(x)) without a shortcut."""
        y = nnx.relu(self.first_norm(self.first(x)))
        y = self.second_norm(self.second(y))
        if self.skip:
            y = y + (x if self.path is None else self.path(x))
        return nnx.relu(y)


class ResNet(nnx.Module):
    """The residual network for CIFAR of 6n + 2 layers: three stages of n blocks, the first of which halves the image.

    The blocks of the first stage see the whole image. Without a shortcut it is the "noshort" network of Li et
    al. (2018).

    Source: He, Zhang, Ren, Sun (2016), section 4.2.
    """

    def __init__(
        self,
        channels: int,
        outputs: int,
        *,
        blocks: int,
        width: int = 16,
        shortcut: Shortcut | None = Padded,
        rngs: nnx.Rngs,
    ):
        self.stem = _convolution(channels, width, 3, 1, rngs)
        self.norm = nnx.BatchNorm(width, rngs=rngs)
        ends = pairwise([width, *(width << stage for stage in range(3) for _ in range(blocks))])
        self.blocks = nnx.List([Block(a, b, 1 if a == b else 2, shortcut, rngs=rngs) for a, b in ends])
        self.head = nnx.Linear(width << 2, outputs, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        """Logits of images (samples, height, width, channels), (samples, outputs)."""
        x = nnx.relu(self.norm(self.stem(x)))
        for block in self.blocks:
            x = block(x)
        return self.head(x.mean((1, 2)))


_SMALL = nnx.initializers.normal(0.02)  # of all kernels, as GPT-2 (Radford et al. 2019) begins


class Layer(nnx.Module):
    """Attention to what came before, and a dense layer at each place, both around a path that is left alone."""

    def __init__(self, width: int, heads: int, layers: int, *, rngs: nnx.Rngs):
        last = nnx.initializers.normal(0.02 / (2 * layers) ** 0.5)  # so that depth does not widen the path (ibid.)
        self.attention_norm = nnx.LayerNorm(width, rngs=rngs)
        self.attention = nnx.MultiHeadAttention(
            heads, width, kernel_init=_SMALL, out_kernel_init=last, decode=False, rngs=rngs
        )
        self.dense_norm = nnx.LayerNorm(width, rngs=rngs)
        self.up = nnx.Linear(width, 4 * width, kernel_init=_SMALL, rngs=rngs)
        self.down = nnx.Linear(4 * width, width, kernel_init=last, rngs=rngs)

    def __call__(self, x: jax.Array, mask: jax.Array) -> jax.Array:
        """The same shape, (samples, length, width)."""
        x = x + self.attention(self.attention_norm(x), mask=mask)
        return x + self.down(nnx.gelu(self.up(self.dense_norm(x))))


class Transformer(nnx.Module):
    """A causal transformer with pre-norm and learned positions: what stands at a place follows from what came before.

    Source: Vaswani et al. (2017); pre-norm as Xiong et al. (2020); weight tying as Press and Wolf (2017).
    """

    def __init__(
        self, vocabulary: int, length: int, *, width: int, heads: int, layers: int, tied: bool, rngs: nnx.Rngs
    ):
        self.tokens = nnx.Embed(vocabulary, width, embedding_init=_SMALL, rngs=rngs)
        self.positions = nnx.Embed(length, width, embedding_init=_SMALL, rngs=rngs)
        self.layers = nnx.List([Layer(width, heads, layers, rngs=rngs) for _ in range(layers)])
        self.norm = nnx.LayerNorm(width, rngs=rngs)
        self.head = None if tied else nnx.Linear(width, vocabulary, use_bias=False, kernel_init=_SMALL, rngs=rngs)

    def __call__(self, tokens: jax.Array) -> jax.Array:
        """Logits of the token after each, (samples, length, vocabulary), of tokens (samples, length)."""
        places = jnp.arange(tokens.shape[1])
        mask = (places[:, None] >= places)[None, None]  # (samples, heads, asking place, asked place)
        x = self.tokens(tokens) + self.positions(places)
        for layer in self.layers:
            x = layer(x, mask)
        x = self.norm(x)
        return self.tokens.attend(x) if self.head is None else self.head(x)
