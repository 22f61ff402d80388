"""The tables `[model]` and `[loss]`."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, ValidationInfo, field_validator

from nagviz.experiment.tables.values import Record

Width = Annotated[int, Field(ge=1, le=65536)]
Widths = Annotated[tuple[Width, ...], Field(min_length=1, max_length=16)]


def _callable_name(name: str) -> str:
    module, colon, function = name.partition(":")
    if not colon or not all(part.isidentifier() for part in [*module.split("."), *function.split(".")]):
        raise ValueError('must be "module:function", as "my_models:make"')
    return name


CallableName = Annotated[str, AfterValidator(_callable_name)]  # "module:function", imported when it is trusted


class Mlp(Record):
    """A network of dense layers."""

    kind: Literal["mlp"]
    hidden: Widths  # of the hidden layers
    activation: Literal["relu", "tanh", "sigmoid"] = "relu"


class Article(Record):
    """The network of the article that this project started from: 100 inputs, a dense layer of 10, a head."""

    kind: Literal["article"]


class Autoencoder(Record):
    """Sigmoid layers down to a linear code and back, for data that are to be reconstructed."""

    kind: Literal["autoencoder"]
    hidden: Widths  # between the inputs and the code; mirrored after it
    code: Width
    fan_in: Width = 15  # inputs of a unit that do not start at 0


class Cnn(Record):
    """Convolutions of 3 x 3 with ReLU, each with a max pool of 2 x 2, and a dense layer, for images."""

    kind: Literal["cnn"]
    channels: Widths = (16, 32)  # of each convolution


def _six_n_plus_two(depth: int) -> int:
    if depth < 8 or depth % 6 != 2:
        raise ValueError("must be 6n + 2, as 20 or 56")
    return depth


class ResNet(Record):
    """The residual network for CIFAR of He et al. (2016), with batch norm."""

    kind: Literal["resnet"]
    depth: Annotated[int, Field(le=1202), AfterValidator(_six_n_plus_two)] = 20  # layers
    width: Width = 16  # channels of the first stage
    skip: bool = True  # whether there are paths around the blocks
    shortcut: Literal["A", "B"] | None = None  # where a path changes its shape: A (the default) pads it, B projects it

    @field_validator("shortcut")
    @classmethod
    def _of_use(cls, shortcut: str | None, info: ValidationInfo) -> str | None:
        if shortcut is not None and info.data.get("skip") is False:
            raise ValueError("must be left out where skip is false")
        return shortcut


class Transformer(Record):
    """A causal transformer over characters, with pre-norm and learned positions."""

    kind: Literal["transformer"]
    width: Width = 128  # numbers at each place
    heads: Annotated[int, Field(ge=1, le=1024)] = 4  # of attention
    layers: Annotated[int, Field(ge=1, le=256)] = 4
    length: Annotated[int, Field(ge=1, le=2**20)] | None = None  # places that it knows; those of a sample if left out
    tied: bool = False  # whether the embedding is the head, too

    @field_validator("heads")
    @classmethod
    def _shares_the_width(cls, heads: int, info: ValidationInfo) -> int:
        if info.data.get("width", heads) % heads:
            raise ValueError(f"must divide width = {info.data['width']}")
        return heads


class OwnModel(Record):
    """A model of the user's own."""

    kind: Literal["own"]
    function: CallableName  # (sample_shape, outputs, seed) -> a Flax nnx module, or a nagviz.experiment.models.Model


class OwnLoss(Record):
    """A loss of the user's own, in place of the task's."""

    function: CallableName  # (outputs, targets) -> scalar


Model = Mlp | Article | Autoencoder | Cnn | ResNet | Transformer | OwnModel
