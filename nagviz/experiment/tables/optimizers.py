"""The tables `[[optimizers]]`, with their schedules and restarts."""

from typing import Annotated, Literal

from pydantic import Field

from nagviz.experiment.tables.values import (
    ConditionNumber,
    Count,
    Counts,
    Decay,
    Label,
    NotNegative,
    Positive,
    Rates,
    Record,
    Share,
)


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
    """Raised step by step towards a maximum, and held down again in the last steps where that is asked for."""

    kind: Literal["sutskever"]
    maximum: Share
    period: Positive = 250.0  # steps between two rises
    final_steps: Count | None = None  # the last ones, in which it is at most 0.9; not with a restart


Schedule = FromConditionNumber | Nesterov2004 | Fista | Friction | Rational | Sutskever


class ToTheEnd(Record):
    """What the schedules of the learning rate have that end somewhere: shares of `learning_rate`."""

    kind: str
    end: Share = 0.0  # where it comes to
    steps: Count | None = None  # in so many steps; by default in all that the optimizer takes


class Cosine(ToTheEnd):
    """Half a wave from the learning rate down to its end."""

    kind: Literal["cosine"]


class Linear(ToTheEnd):
    """A straight line from the learning rate to its end."""

    kind: Literal["linear"]


class WarmupCosine(ToTheEnd):
    """A straight line up to the learning rate, then half a wave down; `steps` counts both."""

    kind: Literal["warmup_cosine"]
    warmup: Count  # steps up
    start: Share = 0.0


class Exponential(Record):
    """factor^(t/steps)."""

    kind: Literal["exponential"]
    factor: Annotated[float, Field(gt=0, le=1)]
    steps: Count = 1


class Step(Record):
    """Multiplied by the factor at each of some steps."""

    kind: Literal["step"]
    factor: Positive
    at: Counts


Rate = Cosine | Linear | WarmupCosine | Exponential | Step


class Outer(Record):
    """Nesterov's look-ahead around a number of steps of the optimizer."""

    steps: Count = 10
    learning_rate: Positive = 0.7  # 1 takes the steps whole
    momentum: Decay = 0.9


class Method(Record):
    """What all optimizers have.

    A step takes the gradient g of the loss at the parameters, clips it, adds the decay, and gives it to the method:

        g <- g min(1, clip / |g|),    g <- g + weight_decay params

    which is the gradient of `weight_decay`/2 |params|^2 besides the loss (coupled decay). What is measured and drawn is
    the loss without it.
    """

    kind: str
    name: Label  # in figures and tables; unique in a run
    learning_rate: Rates | None = None  # by default 1/L, where the problem's largest curvature L is known
    learning_rate_schedule: Annotated[Rate, Field(discriminator="kind")] | None = None  # multiplies it, step by step
    clip: Positive | None = None  # length of the gradient, all parameters together, above which it is scaled down
    weight_decay: NotNegative | None = None


Evaluate = Literal["own", "iterate", "lookahead"]  # the point that is measured: the method's own, x, or y
DecayAt = Literal["lookahead", "iterate"]  # the point whose multiple is the decay: y, which are the params, or x


class Solo(Method):
    """What the optimizers have that take one step at a time from where they stand; one can look ahead of them.

    With `lookahead` mu, the step d_t that the optimizer takes at y_t becomes x_{t+1} = y_t + d_t and
    y_{t+1} = x_{t+1} + mu (x_{t+1} - x_t).
    """

    lookahead: Decay | None = None
    evaluate: Evaluate | None = None  # with a look-ahead: by default x
    decay_at: DecayAt | None = None  # with a look-ahead: by default y
    restart: Annotated[Restart, Field(discriminator="kind")] | None = None  # with a look-ahead
    outer: Outer | None = None


class Sgd(Solo):
    """Plain gradient descent."""

    kind: Literal["sgd"]
    name: Label = "SGD"


class OptaxNag(Solo):
    """Optax's `sgd(nesterov=True)`: the momentum is in units of gradients, and the parameters are y."""

    kind: Literal["optax_nag"]
    name: Label = "Optax NAG"
    momentum: Decay = 0.9


class Adam(Solo):
    """Adam; the defaults are Optax's, here as below."""

    kind: Literal["adam"]
    name: Label = "Adam"
    b1: Decay = 0.9  # decay of the mean of the gradients
    b2: Decay = 0.999  # decay of the mean of their squares
    eps: Positive = 1e-8


class AdamW(Adam):
    """Adam whose decay is decoupled: - rate weight_decay params is added to the step, and nothing to the gradient."""

    kind: Literal["adamw"]
    name: Label = "AdamW"
    weight_decay: NotNegative = 1e-4


class Nadam(Adam):
    """Adam with the next step's mean of the gradients."""

    kind: Literal["nadam"]
    name: Label = "NAdam"


class Adagrad(Solo):
    """Adagrad."""

    kind: Literal["adagrad"]
    name: Label = "Adagrad"
    initial_accumulator_value: NotNegative = 0.1
    eps: Positive = 1e-7


class Rmsprop(Solo):
    """RMSProp."""

    kind: Literal["rmsprop"]
    name: Label = "RMSProp"
    decay: Decay = 0.9
    eps: Positive = 1e-8
    momentum: Decay | None = None


class Muon(Solo):
    """Muon: each matrix steps along an orthogonal one, the other parameters by NAdam. Decay is decoupled, of all."""

    kind: Literal["muon"]
    name: Label = "Muon"
    beta: Decay = 0.95


class Lion(Solo):
    """Lion: steps of one size, by signs. Decay is decoupled."""

    kind: Literal["lion"]
    name: Label = "Lion"
    b1: Decay = 0.9
    b2: Decay = 0.99
    weight_decay: NotNegative = 1e-3


class Member(Method):
    """What all methods with a look-ahead have."""

    evaluate: Evaluate = "own"
    decay_at: DecayAt | None = None  # by default y
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


class ScheduleFreeSgd(Method):
    """Optax's schedule-free gradient descent, measured at its average."""

    kind: Literal["schedule_free_sgd"]
    name: Label = "schedule-free SGD"
    b1: Annotated[float, Field(gt=0, lt=1)] = 0.9  # weight of the average in y


class ScheduleFreeAdamW(Method):
    """Optax's schedule-free AdamW, measured at its average. Decay is decoupled, at y."""

    kind: Literal["schedule_free_adamw"]
    name: Label = "schedule-free AdamW"
    b1: Annotated[float, Field(gt=0, lt=1)] = 0.9
    b2: Decay = 0.999
    eps: Positive = 1e-8


class OuterNesterov(Method):
    """Nesterov's look-ahead around a number of steps of gradient descent."""

    kind: Literal["outer_nesterov"]
    name: Label = "outer Nesterov"
    steps: Count = 10
    outer_learning_rate: Positive = 0.7
    momentum: Decay = 0.9


Optimizer = (
    Sgd
    | OptaxNag
    | Adam
    | AdamW
    | Nadam
    | Adagrad
    | Rmsprop
    | Muon
    | Lion
    | ScheduleFreeSgd
    | ScheduleFreeAdamW
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
