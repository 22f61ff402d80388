"""The tables `[[optimizers]]`, with their schedules and restarts."""

from typing import Annotated, Literal

from pydantic import Field

from nagviz.experiment.tables.values import ConditionNumber, Count, Decay, Label, Positive, Record, Share


class Reject(Record):
    """What all rules of restarting have."""

    kind: str
    reject: bool = False  # whether the step that set the rule off is undone


class GradientRestart(Reject):
    """Restart when the velocity points uphill."""

    kind: Literal["gradient"]


class FunctionRestart(Reject):
    """Restart when the loss at the look-ahead point rises."""

    kind: Literal["function"]


class SpeedRestart(Reject):
    """Restart when the iterate slows down."""

    kind: Literal["speed"]
    min_age: Count = 10  # steps that a restart leaves in peace


class PeriodicRestart(Reject):
    """Restart after a number of steps."""

    kind: Literal["periodic"]
    period: Annotated[int, Field(ge=2, le=10**9)]


Restart = GradientRestart | FunctionRestart | SpeedRestart | PeriodicRestart


class FromConditionNumber(Record):
    """The constant momentum (sqrt k - 1)/(sqrt k + 1)."""

    kind: Literal["condition_number"]
    condition_number: ConditionNumber | None = None  # by default the problem's own, where it is known


class Nesterov2004(Record):
    """The momentum of Nesterov's general scheme."""

    kind: Literal["nesterov_2004"]
    a0: Annotated[float, Field(gt=0, lt=1)]
    condition_number: ConditionNumber | None = None


class Fista(Record):
    """Nesterov's momentum of 1983."""

    kind: Literal["fista"]


class Friction(Record):
    """t/(t + r)."""

    kind: Literal["friction"]
    r: Annotated[float, Field(ge=3)] = 3.0


class Rational(Record):
    """(t + k)/(t + n), at least 0."""

    kind: Literal["rational"]
    k: float
    n: Positive


class Sutskever(Record):
    """Raised step by step towards a maximum."""

    kind: Literal["sutskever"]
    maximum: Share
    period: Positive = 250.0  # steps between two rises


Schedule = FromConditionNumber | Nesterov2004 | Fista | Friction | Rational | Sutskever


class Method(Record):
    """What all optimizers have."""

    kind: str
    name: Label  # in figures and tables; unique in a run
    learning_rate: Positive | None = None  # by default 1/L, where the problem's largest curvature L is known


class Sgd(Method):
    """Plain gradient descent."""

    kind: Literal["sgd"]
    name: Label = "SGD"


class Adam(Method):
    """Adam; the defaults are Optax's."""

    kind: Literal["adam"]
    name: Label = "Adam"
    b1: Decay = 0.9  # decay of the mean of the gradients
    b2: Decay = 0.999  # decay of the mean of their squares
    eps: Positive = 1e-8


class Adagrad(Method):
    """Adagrad; the defaults are Optax's."""

    kind: Literal["adagrad"]
    name: Label = "Adagrad"
    initial_accumulator_value: Annotated[float, Field(ge=0)] = 0.1
    eps: Positive = 1e-7


class Member(Method):
    """What all methods with a look-ahead have."""

    evaluate: Literal["own", "iterate", "lookahead"] = "own"  # the point that is measured: the method's own, x, or y
    restart: Annotated[Restart, Field(discriminator="kind")] | None = None


class Momentum(Member):
    """What the methods have whose momentum may follow a schedule."""

    momentum: Decay = 0.9
    schedule: Annotated[Schedule, Field(discriminator="kind")] | None = None  # instead of the momentum


class Nag(Momentum):
    """Nesterov's accelerated gradient."""

    kind: Literal["nag"]
    name: Label = "NAG"


class HeavyBall(Momentum):
    """Polyak's momentum."""

    kind: Literal["heavy_ball"]
    name: Label = "heavy ball"


class Mass(Momentum):
    """Nesterov's method with a compensation term, in units of a learning rate."""

    kind: Literal["mass"]
    name: Label = "MaSS"
    compensation: Annotated[float, Field(ge=0)]


class Agnes(Member):
    """Nesterov's method for multiplicative noise."""

    kind: Literal["agnes"]
    name: Label = "AGNES"
    alpha: Annotated[float, Field(ge=0)]  # size of the momentum step, in units of a learning rate
    rho: Share = 0.99


class Qhm(Member):
    """Quasi-hyperbolic momentum."""

    kind: Literal["qhm"]
    name: Label = "QHM"
    nu: Share = 0.7
    beta: Decay = 0.999


class Ogm(Member):
    """The optimized gradient method."""

    kind: Literal["ogm"]
    name: Label = "OGM"
    horizon: Count | None = None  # steps after which the last coefficients are used


class TripleMomentum(Member):
    """The fastest method with constant coefficients."""

    kind: Literal["triple_momentum"]
    name: Label = "triple momentum"
    condition_number: ConditionNumber | None = None


class RobustMomentum(Member):
    """A dial between triple momentum and gradient descent."""

    kind: Literal["robust_momentum"]
    name: Label = "robust momentum"
    condition_number: ConditionNumber | None = None
    rate: Annotated[float, Field(gt=0, lt=1)]


class Item(Member):
    """The information-theoretic exact method."""

    kind: Literal["item"]
    name: Label = "ITEM"
    condition_number: ConditionNumber | None = None


class ScheduleFree(Member):
    """Schedule-free gradient descent."""

    kind: Literal["schedule_free"]
    name: Label = "schedule-free"
    beta: Annotated[float, Field(gt=0, le=1)] = 0.9


class PrimalAveraging(Member):
    """Generalized primal averaging."""

    kind: Literal["primal_averaging"]
    name: Label = "primal averaging"
    mu_y: Annotated[float, Field(gt=0, le=1)] = 0.9
    mu_x: Decay = 0.99


class EmaNesterov(Member):
    """A look-ahead along the average of past steps."""

    kind: Literal["ema_nesterov"]
    name: Label = "EMA-Nesterov"
    decay: Decay = 0.9
    lookahead: Share = 1.0


class OuterNesterov(Method):
    """Nesterov's look-ahead around a number of steps of gradient descent."""

    kind: Literal["outer_nesterov"]
    name: Label = "outer Nesterov"
    steps: Count = 10
    outer_learning_rate: Positive = 0.7
    momentum: Decay = 0.9


Optimizer = (
    Sgd
    | Adam
    | Adagrad
    | Nag
    | HeavyBall
    | Qhm
    | Ogm
    | TripleMomentum
    | RobustMomentum
    | Item
    | Mass
    | Agnes
    | ScheduleFree
    | PrimalAveraging
    | EmaNesterov
    | OuterNesterov
)
