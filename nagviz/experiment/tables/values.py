"""What the keys of a config may hold."""

from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Discriminator, Field, Tag


def _odd(points: int) -> int:
    if points % 2 == 0:
        raise ValueError("must be odd, since the centre must lie on the grid")
    return points


def _increasing(ends: tuple[float, float]) -> tuple[float, float]:
    if not ends[1] - ends[0] > 1e-6 * max(map(abs, ends)):
        raise ValueError("must increase from its first number to its second, by more than float32 rounds")
    return ends


def _printable(label: str) -> str:
    if not label.isprintable() or label != label.strip():
        raise ValueError("must be printable, without blanks at its ends")
    return label


def _distinct(numbers: tuple[float, ...]) -> tuple[float, ...]:
    if len(set(numbers)) < len(numbers):
        raise ValueError("must hold no number twice")
    return numbers


def _rising(numbers: tuple[Any, ...]) -> tuple[Any, ...]:
    if sorted(set(numbers)) != list(numbers):
        raise ValueError("must increase from each number to the next")
    return numbers


FORMS = ("<number>", "<array>")  # in pydantic's locations, of what may be either; no key is named so


def _form(value: object) -> str:
    return FORMS[isinstance(value, list | tuple)]


# What float32 holds, its subnormal numbers left out, which XLA takes for 0. Problems in float64 keep to it as well: the
# same optimizers race on them.
LARGEST, SMALLEST = float.fromhex("0x1.fffffep+127"), float.fromhex("0x1p-126")

Count = Annotated[int, Field(ge=1, le=10**9)]
Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
Rates = Annotated[  # a learning rate, or a grid of them
    Annotated[Positive, Tag(FORMS[0])]
    | Annotated[tuple[Positive, ...], Field(min_length=1, max_length=64), AfterValidator(_distinct), Tag(FORMS[1])],
    Discriminator(_form),
]
Counts = Annotated[tuple[Count, ...], Field(min_length=1, max_length=64), AfterValidator(_rising)]
Sizes = Annotated[tuple[Positive, ...], Field(min_length=1, max_length=64), AfterValidator(_rising)]
BatchSize = Annotated[int, Field(ge=1, le=2**24)]
BatchSizes = Annotated[  # examples per step, or several such numbers to be compared
    Annotated[BatchSize, Tag(FORMS[0])]
    | Annotated[tuple[BatchSize, ...], Field(min_length=2, max_length=64), AfterValidator(_rising), Tag(FORMS[1])],
    Discriminator(_form),
]
Decay = Annotated[float, Field(ge=0, lt=1)]
Share = Annotated[float, Field(ge=0, le=1)]
ConditionNumber = Annotated[float, Field(ge=1)]
Margin = Annotated[float, Field(ge=0, le=10)]  # share of the paths' extent, added on each side
Label = Annotated[str, Field(min_length=1, max_length=40), AfterValidator(_printable)]
Range = Annotated[tuple[float, float], AfterValidator(_increasing)]
Side = Annotated[int, Field(ge=3, le=2001), AfterValidator(_odd)]  # points on each side of a grid
# A folder on every system: no separators, no "..", and no dot at the end, which Windows drops.
FolderName = Annotated[str, Field(max_length=64, pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*(\.[A-Za-z0-9_-]+)*$")]


class Record(BaseModel):
    """A table of the file: exact types, no unknown keys, never changed."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False)
