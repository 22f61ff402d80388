"""The look-ahead is the textbook's, in any Optax pipeline."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import nagviz as nv

CURVATURE = np.array([1.0, 7.0, 40.0])


def gradient(w):
    """Of a strictly convex function that is no quadratic: 0.5 w'Dw + sum log cosh w."""
    xp = np if isinstance(w, np.ndarray) else jnp
    return CURVATURE * w + xp.tanh(w)


def textbook(momentum, learning_rate, steps, start):
    """Nesterov's two sequences, written as in the books, in NumPy's float64."""
    x = y = np.asarray(start, np.float64)
    points = []
    for t in range(steps):
        x_next = y - learning_rate(t) * gradient(y)
        y = x_next + momentum(t) * (x_next - x)
        x = x_next
        points.append((x, y))
    return np.array(points)


def run(optimizer, steps, start, of=gradient, state_of=lambda state: state):
    """Iterates and look-ahead points of an optimizer, jitted, as (steps, 2, n)."""

    @jax.jit
    def step(params, state):
        updates, state = optimizer.update(of(params), state, params)
        params = optax.apply_updates(params, updates)
        return params, state, nv.iterate(state_of(state), params)

    params, points = jnp.asarray(start), []
    state = optimizer.init(params)
    for _ in range(steps):
        params, state, x = step(params, state)
        points.append((x, params))
    assert step._cache_size() == 1, "compiled again after the first step"
    return np.array(points)


def relative(a, b):
    return np.max(np.abs(a - b)) / np.max(np.abs(b))


MOMENTA = {
    "constant": (0.9, lambda t: 0.9),
    "friction": (lambda age: age / (age + 3), lambda t: t / (t + 3)),
    "table": (
        lambda age: jnp.linspace(0.3, 0.95, 400)[age],
        lambda t: np.linspace(0.3, 0.95, 400)[t],
    ),
}
RATES = {
    "constant": (0.02, lambda t: 0.02),
    "drop": (lambda t: jnp.where(t < 100, 0.02, 0.002), lambda t: 0.02 if t < 100 else 0.002),
    "ratio": (lambda t: 0.06 / (t + 3), lambda t: 0.06 / (t + 3)),
    "integers": (lambda t: (t + 1) / (50 * (t + 3)), lambda t: (t + 1) / (50 * (t + 3))),
}
START = [1.0, -2.0, 0.5]


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("momentum", MOMENTA)
def test_nag_is_the_textbook_recursion(x64, momentum, rate):
    ours, theirs = MOMENTA[momentum]
    lr, textbook_lr = RATES[rate]
    points = run(nv.nag(lr, ours), 400, START)
    assert relative(points, textbook(theirs, textbook_lr, 400, START)) < 1e-13


def test_constants_give_the_trajectory_of_optax_sgd_nesterov(x64):
    params = jnp.array(START)
    theirs = optax.sgd(0.02, 0.9, nesterov=True)
    state = theirs.init(params)
    points = run(nv.nag(0.02, 0.9), 400, START)[:, 1]
    for point in points:
        updates, state = theirs.update(gradient(params), state, params)
        params = optax.apply_updates(params, updates)
        np.testing.assert_allclose(point, params, rtol=0, atol=1e-14)


def test_a_scheduled_momentum_is_not_that_of_optax_sgd_nesterov(x64):
    """Optax applies mu_t where the textbook has mu_{t+1}: the difference is no rounding error."""
    schedule = MOMENTA["friction"][0]
    theirs = optax.chain(
        optax.inject_hyperparams(optax.trace, static_args="nesterov")(schedule, nesterov=True),
        optax.scale(-0.02),
    )
    params = jnp.array(START)
    state = theirs.init(params)
    ours = run(nv.nag(0.02, schedule), 30, START)[:, 1]
    differences = []
    for point in ours:
        updates, state = theirs.update(gradient(params), state, params)
        params = optax.apply_updates(params, updates)
        differences.append(np.max(np.abs(point - params)))
    assert max(differences) > 1e-2


BASES = {
    "clipping": lambda: optax.chain(optax.clip_by_global_norm(0.5), optax.sgd(0.02)),
    "adam": lambda: optax.adam(1e-2),
    "decay": lambda: optax.chain(optax.add_decayed_weights(0.1), optax.sgd(0.02)),
}


@pytest.mark.parametrize("base", BASES)
def test_the_look_ahead_of_any_base_step_is_the_textbooks(x64, base):
    """x_{t+1} = y_t + d_t with d_t the base's own step at y_t; y_{t+1} = x_{t+1} + mu (x_{t+1} - x_t)."""
    points = run(optax.chain(BASES[base](), nv.nesterov_lookahead(0.8)), 100, START)
    optimizer = BASES[base]()
    x = y = jnp.array(START)
    state = optimizer.init(y)
    for ours in points:
        d, state = optimizer.update(gradient(y), state, y)
        x, last = y + d, x
        y = x + 0.8 * (x - last)
        np.testing.assert_allclose(ours, (x, y), rtol=1e-12, atol=1e-13)


def test_step_weight_and_correction_enter_as_in_the_docstring(x64):
    """alpha 0 and gamma 1 is heavy ball: y_{t+1} = y_t + mu (y_t - y_{t-1}) - lr grad f(y_t)."""
    optimizer = optax.chain(optax.sgd(0.02), nv.nesterov_lookahead(0.7, correction=1.0, step_weight=0.0))
    y = last = np.array(START)
    for ours in run(optimizer, 100, START)[:, 1]:
        y, last = y + 0.7 * (y - last) - 0.02 * gradient(y), y
        np.testing.assert_allclose(ours, y, rtol=1e-12, atol=1e-13)


def test_inject_hyperparams_over_a_schedule_is_the_schedule(x64):
    def momentum(t):
        return 1.0 - 0.5 / (1.0 + t)

    injected = optax.inject_hyperparams(nv.nag)(learning_rate=0.02, momentum=momentum)
    plain = nv.nag(0.02, momentum)
    np.testing.assert_allclose(run(injected, 50, START), run(plain, 50, START), rtol=1e-13)


def test_an_injected_hyperparameter_can_be_turned_while_training(x64):
    optimizer = optax.inject_hyperparams(nv.nag)(learning_rate=0.02, momentum=0.9)
    params = jnp.array(START)
    state = optimizer.init(params)
    for t in range(3):
        state.hyperparams["momentum"] = jnp.asarray(0.9 if t < 1 else 0.0)
        updates, state = optimizer.update(gradient(params), state, params)
        params = optax.apply_updates(params, updates)
    expected = textbook(lambda t: 0.9 if t < 1 else 0.0, lambda t: 0.02, 3, START)[-1, 1]
    np.testing.assert_allclose(params, expected, rtol=1e-13)


def two_groups(one, other):
    return optax.partition({"a": one, "b": other}, {"a": "a", "b": "b"})


def wrapped(name):
    """An optimizer over {"a", "b"} and which of the two the look-ahead moves."""
    nag = nv.nag(0.02, 0.9)
    return {
        "chain": (optax.chain(optax.clip(10.0), nag), "ab"),
        "inject_hyperparams": (optax.inject_hyperparams(nv.nag)(0.02, 0.9), "ab"),
        "MultiSteps": (optax.MultiSteps(nag, 1), "ab"),
        "apply_if_finite": (optax.apply_if_finite(nag, 3), "ab"),
        "masked": (optax.masked(nag, {"a": True, "b": False}), "a"),
        "partition": (two_groups(nag, optax.sgd(0.02)), "a"),
        "partition of two": (two_groups(nag, nv.nag(0.02, 0.5)), "ab"),
    }[name]


@pytest.mark.parametrize(
    "name",
    [
        "chain",
        "inject_hyperparams",
        "MultiSteps",
        "apply_if_finite",
        "masked",
        "partition",
        "partition of two",
    ],
)
def test_the_iterate_is_read_through_every_wrapper(name):
    optimizer, moved = wrapped(name)
    params = {"a": jnp.array(START), "b": jnp.array(START)}
    state = optimizer.init(params)
    for _ in range(3):
        updates, state = optimizer.update(jax.tree.map(gradient, params), state, params)
        last, params = params, optax.apply_updates(params, updates)
    x = nv.iterate(state, params)
    for key in "ab":
        if key in moved:  # x_{t+1} = y_t - lr grad f(y_t), whatever the momentum
            np.testing.assert_allclose(x[key], last[key] - 0.02 * gradient(last[key]), rtol=2e-5)
        else:
            assert x[key] is params[key]
    back = nv.from_iterate(state, x)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), back, params)


def test_read_outs_say_what_is_wrong_with_a_state():
    params = {"a": jnp.zeros(2), "b": jnp.zeros(2)}
    with pytest.raises(ValueError, match="state holds no look-ahead"):
        nv.iterate(optax.sgd(0.1).init(params), params)
    twice = nv.outer_nesterov(nv.nag(0.1), 2)
    with pytest.raises(ValueError, match=r"several look-aheads.*params\['a'\]"):
        nv.iterate(twice.init(params), params)
    with pytest.raises(ValueError, match=r"has no params\['b'\], which the state moves"):
        nv.iterate(nv.nag(0.1).init(params), {"a": jnp.zeros(2)})
    with pytest.raises(ValueError, match=r"iterate\[0\] is none of the parameters"):
        nv.from_iterate(nv.nag(0.1).init(params), [jnp.zeros(2)])


@pytest.mark.parametrize("momentum", [1.1, -0.1, float("nan"), np.float32(2)])
def test_a_momentum_out_of_range_is_refused_by_name(momentum):
    with pytest.raises(ValueError, match="momentum must be from 0 to 1, got"):
        nv.nag(0.1, momentum)


def test_bad_numbers_are_refused_when_the_optimizer_is_made():
    with pytest.raises(ValueError, match="learning_rate must be finite and not negative, got -1"):
        nv.nag(-1.0)
    with pytest.raises(ValueError, match="correction must be a finite number, got inf"):
        nv.nesterov_lookahead(correction=float("inf"))


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16, jnp.float32, jnp.complex64])
def test_updates_keep_the_gradients_dtype_and_the_state_its_own(dtype):
    params = {"w": jnp.ones(3, dtype), "none": None}
    optimizer = nv.nag(0.1, 0.9)
    updates, state = jax.jit(optimizer.update)(params, optimizer.init(params), params)
    assert updates["w"].dtype == state[-1].displacement["w"].dtype == dtype
    assert nv.iterate(state, params)["w"].dtype == dtype
    assert updates["none"] is None


def test_the_displacement_can_be_wider_than_the_parameters():
    """At momentum 0.999 a bfloat16 displacement would stand still; float32 sums to the closed form."""
    params = jnp.ones((), jnp.bfloat16)
    optimizer = nv.nesterov_lookahead(0.999, accumulator_dtype=jnp.float32)
    state = optimizer.init(params)
    for _ in range(100):
        updates, state = optimizer.update(jnp.ones((), jnp.bfloat16), state, params)
    assert updates.dtype == jnp.bfloat16
    expected = 0.999 * (1 - 0.999**100) / (1 - 0.999)
    np.testing.assert_allclose(state.displacement, expected, rtol=1e-5)


def test_init_takes_shapes_and_placeholders():
    shapes = {"w": jax.ShapeDtypeStruct((3,), jnp.float32)}
    state = jax.eval_shape(nv.nag(0.1).init, shapes)
    assert state[-1].displacement["w"].shape == (3,)
    optimizer = nv.nag(0.1)
    marked = optax.tree.map_params(optimizer, lambda _: "p", optimizer.init({"w": jnp.ones(3)}))
    assert marked[-1].displacement == {"w": "p"}


@pytest.mark.parametrize("platform", ["cpu", "cuda", "rocm", "tpu"])
def test_the_step_lowers_for_platforms_that_are_not_here(platform):
    optimizer = optax.chain(optax.clip_by_global_norm(1.0), nv.nag(RATES["drop"][0], 0.9))

    @jax.jit
    def step(params, state):
        updates, state = optimizer.update(jax.tree.map(jnp.tanh, params), state, params)
        params = optax.apply_updates(params, updates)
        return params, state, nv.iterate(state, params)

    params = {"w": jnp.ones((8, 128)), "b": jnp.ones(128)}
    exported = jax.export.export(step, platforms=[platform])(*jax.eval_shape(lambda: (params, optimizer.init(params))))
    assert exported.platforms == (platform,)
    assert "stablehlo" in exported.mlir_module()
