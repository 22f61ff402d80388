"""What moves: Nesterov's look-ahead as Optax transformations.

# Which Nesterov is this?

Several programs go by the name of Nesterov's momentum. All are one recursion with three coefficients a step, and
they agree while learning rate and momentum stand still. With y_t the parameters, where the gradient is taken, d_t
the step that arrives (for gradient descent -lr_t grad f(y_t)) and s_t = y_t - x_t:

    s_{t+1}       = mu s_t + (mu alpha + gamma) d_t
    y_{t+1} - y_t = alpha d_t + s_{t+1}

    program                                  alpha   mu         gamma         to evaluate   here
    Nesterov 1983 and 2004, Sutskever 2013     1     mu_{t+1}   0             x             nag(lr, mu)
    Keras, SGD(nesterov=True)                  1     m          0             y             nag(lr, m)
    Optax, sgd(nesterov=True), and PyTorch:
      learning rate constant                   1     m          0             y             nag(lr, m)
      scheduled, r_t = lr_t / lr_{t-1}         1     r_t m      m (1 - r_t)   y             shown below
    FISTA                                      1     mu_{t+1}   0             x             behind the prox
    heavy ball, Polyak 1964                    0     mu         1             y             heavy_ball(lr, mu)
    schedule-free gradient descent           1 - b   with the age             its own       schedule_free(lr, b)
    Nadam, Muon, Lion, Adan, AdEMAMix        not of this form

The last ones have a nonlinearity between the average and the step, or a second buffer, and cannot be had from the
end of a chain.

At alpha = 1 gamma is a dial: -mu is gradient descent, below 0 is steadier under noise (`agnes`, `mass`), 0 is
Nesterov, 1 - 1/sqrt k triple momentum, towards 1 the optimized gradient method, and infinity the heavy ball.

## The differences in numbers

    >>> import jax, jax.numpy as jnp, optax, nagviz as nv
    >>> curvature = jnp.array([1.0, 10.0, 100.0])
    >>> def path(optimizer, steps=100):  # on (1/2) sum_i curvature_i w_i^2, from (1, 1, 1)
    ...     def step(carry, _):
    ...         updates, state = optimizer.update(curvature * carry[0], carry[1], carry[0])
    ...         carry = optax.apply_updates(carry[0], updates), state
    ...         return carry, carry[0]
    ...     return jax.lax.scan(step, (jnp.ones(3), optimizer.init(jnp.ones(3))), length=steps)[1]
    >>> def apart(one, other):
    ...     return float(jnp.max(jnp.abs(path(one) - path(other))))

Constant coefficients: nothing but rounding.

    >>> apart(nv.nag(0.01, 0.9), optax.sgd(0.01, 0.9, nesterov=True)) < 1e-6
    True

A scheduled momentum: `optax.trace(nesterov=True)` multiplies by the momentum of this step, where the next step's
belongs, and giving it the schedule a step early spoils the trace instead.

    >>> momentum = nv.friction(3)
    >>> def traced(schedule):
    ...     trace = optax.inject_hyperparams(optax.trace, static_args="nesterov")(schedule, nesterov=True)
    ...     return optax.chain(trace, optax.scale(-0.01))
    >>> print(f"{apart(nv.nag(0.01, momentum), traced(momentum)):.4f}")
    0.0625
    >>> print(f"{apart(nv.nag(0.01, momentum), traced(lambda t: momentum(t + 1))):.4f}")
    0.2500

A learning rate that drops tenfold: Optax and PyTorch shrink the velocity with it at once; the textbook's keeps its
speed, as it is in units of the parameters.

    >>> rate = lambda t: jnp.where(t < 50, 0.01, 0.001)
    >>> for optimizer in (nv.nag(rate, 0.9), optax.sgd(rate, 0.9, nesterov=True)):
    ...     lengths = jnp.linalg.norm(jnp.diff(path(optimizer), axis=0), axis=1)
    ...     print(f"{lengths[49] / lengths[48]:.2f}")
    0.83
    0.10

That rule is a member of the family too:

    >>> ratio = lambda t: jnp.where(t == 0, 0.0, rate(t) / rate(t - 1))
    >>> as_pytorch = optax.chain(
    ...     optax.scale_by_learning_rate(rate),
    ...     nv.nesterov_lookahead(lambda t: 0.9 * ratio(t), correction=lambda t: 0.9 * (1 - ratio(t))),
    ... )
    >>> apart(as_pytorch, optax.sgd(rate, 0.9, nesterov=True)) < 1e-6
    True

For a slowly varying momentum the loss curves differ by a few per cent at most. What is gained is that the method is
the one that the theorem is about, that it works behind any base optimizer, and that the iterate can be read out.

## Where it stands in the chain

Last. A proximal step or a projection belongs before it, as part of d_t = prox(y_t - lr grad f(y_t)) - y_t; then the
chain is the accelerated proximal gradient method. With the weights w >= 0:

    >>> positive = optax.chain(optax.sgd(0.01), optax.keep_params_nonnegative(), nv.nesterov_lookahead(momentum))

Whatever comes after and changes the updates breaks y = x + s, and the read-outs refuse such a chain:

    >>> wrong = optax.chain(nv.nag(0.01), optax.scale_by_schedule(lambda t: 0.5))
    >>> nv.iterate(wrong.init(jnp.ones(3)), jnp.ones(3))
    Traceback (most recent call last):
    ValueError: state is of a chain in which the look-ahead is not last: ScaleByScheduleState comes after it, ...

A rescaling without a state of its own, such as `optax.scale(0.5)`, is seen in a chain as well. Not seen are a masked
link behind a masked look-ahead, which as a rule moves other parameters, a wrapper around the whole optimizer, and what
happens to the updates outside of it.
"""

from nagviz.optim.coefficients import (
    Recurrence,
    fista_momentum,
    friction,
    from_condition_number,
    nesterov_2004,
    rational,
    stability_limit,
    step_shares,
    sutskever,
)
from nagviz.optim.lookahead import (
    LookaheadState,
    evaluation_point,
    from_iterate,
    iterate,
    nesterov_lookahead,
    restarts,
    velocity,
)
from nagviz.optim.optimizers import (
    agnes,
    ema_nesterov,
    heavy_ball,
    item,
    mass,
    nag,
    ogm,
    primal_averaging,
    qhm,
    robust_momentum,
    schedule_free,
    triple_momentum,
)
from nagviz.optim.outer import OuterState, outer_nesterov
from nagviz.optim.restart import (
    Restart,
    function_restart,
    gradient_restart,
    periodic_restart,
    speed_restart,
)

__all__ = [
    "LookaheadState",
    "OuterState",
    "Recurrence",
    "Restart",
    "agnes",
    "ema_nesterov",
    "evaluation_point",
    "fista_momentum",
    "friction",
    "from_condition_number",
    "from_iterate",
    "function_restart",
    "gradient_restart",
    "heavy_ball",
    "item",
    "iterate",
    "mass",
    "nag",
    "nesterov_2004",
    "nesterov_lookahead",
    "ogm",
    "outer_nesterov",
    "periodic_restart",
    "primal_averaging",
    "qhm",
    "rational",
    "restarts",
    "robust_momentum",
    "schedule_free",
    "speed_restart",
    "stability_limit",
    "step_shares",
    "sutskever",
    "triple_momentum",
    "velocity",
]
