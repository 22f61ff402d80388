"""One table of promises, kept by every optimizer of the family.

The members are collected from what `nagviz.optim` exports, so that one added later stands here without anyone
remembering: until ROWS says how to make it, a test fails. A promise is run over all rows in one compiled program.
"""

import dataclasses
import inspect
import json
import os
import subprocess
import sys
from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import orbax.checkpoint
import pytest
from flax import nnx
from flax.training.train_state import TrainState

import nagviz as nv
from nagviz import optim

LR, STEPS = 0.1, 4


def staircase(count):
    return jnp.where(count < 2, LR, LR / 2)


# What each is made with. One public optimizer may have several rows; numbers left out are the defaults.
ROWS = {
    "nesterov_lookahead": (optim.nesterov_lookahead, {"momentum": 0.5, "correction": -0.2, "step_weight": 0.1}),
    "nag": (optim.nag, {"learning_rate": LR}),
    "nag, schedules": (optim.nag, {"learning_rate": staircase, "momentum": optim.friction(3)}),
    "nag, gradient restart": (optim.nag, {"learning_rate": LR, "restart": optim.gradient_restart()}),
    "nag, function restart": (optim.nag, {"learning_rate": LR, "restart": optim.function_restart(reject=True)}),
    "heavy_ball": (optim.heavy_ball, {"learning_rate": LR}),
    "qhm": (optim.qhm, {"learning_rate": LR}),
    "ogm": (optim.ogm, {"learning_rate": LR}),
    "ogm, horizon": (optim.ogm, {"learning_rate": LR, "horizon": 3}),
    "ogm, speed restart": (optim.ogm, {"learning_rate": LR, "restart": optim.speed_restart(1)}),
    "triple_momentum": (optim.triple_momentum, {"learning_rate": LR, "condition_number": 9.0}),
    "robust_momentum": (optim.robust_momentum, {"learning_rate": LR, "condition_number": 9.0, "rate": 0.75}),
    "item": (optim.item, {"learning_rate": LR, "condition_number": 9.0}),
    "item, periodic restart": (
        optim.item,
        {"learning_rate": LR, "condition_number": 9.0, "restart": optim.periodic_restart(2)},
    ),
    "mass": (optim.mass, {"eta1": LR, "eta2": LR / 5}),
    "agnes": (optim.agnes, {"eta": LR, "alpha": LR / 5}),
    "schedule_free": (optim.schedule_free, {"learning_rate": LR}),
    "primal_averaging": (optim.primal_averaging, {"learning_rate": LR}),
    "ema_nesterov": (optim.ema_nesterov, {"learning_rate": LR}),
    "outer_nesterov": (optim.outer_nesterov, {"optimizer": optax.sgd(LR, 0.5), "steps": 2}),
}


def public_optimizers():
    """The exported functions that say that they return a gradient transformation."""
    functions = {name: getattr(optim, name) for name in optim.__all__ if inspect.isfunction(getattr(optim, name))}
    returned = {name: inspect.signature(function).return_annotation for name, function in functions.items()}
    assert inspect.Signature.empty not in returned.values(), "an exported function does not say what it returns"
    return {name for name, annotation in returned.items() if "GradientTransformation" in str(annotation)}


def test_every_public_optimizer_stands_in_the_table():
    named = {function.__name__ for function, _ in ROWS.values()}
    assert public_optimizers() == named
    assert {"nesterov_lookahead", "nag", "outer_nesterov"} < named


def make(row):
    function, arguments = ROWS[row]
    return function(**arguments)


def over_rows(function, rows=ROWS):
    """What a function of the row's name gives for all of them; an error says which row it comes from."""
    found = {}
    for row in rows:
        try:
            found[row] = function(row)
        except Exception as error:
            error.add_note(f"in the row {row!r}")
            raise
    return found


# One way to run them.


def params(dtype=None):
    def leaf(*values):
        return jnp.asarray(np.array(values), dtype or float)

    return {"a": leaf(1.0, -2.0, 0.5), "b": leaf([0.3, -0.7], [1.5, 0.1])}


def gradient(p):
    """Of no quadratic, for any dtype."""
    return jax.tree.map(lambda w: w * (1 + jnp.abs(w)) / 2, p)


def loss(p):
    """Of the first leaf alone, so that it is the same where only that leaf is moved."""
    return sum(jnp.sum(jnp.abs(w) ** 2) for w in jax.tree.leaves(p)[:1])


def advance(optimizer, p, state):
    updates, state = optimizer.update(gradient(p), state, p, value=loss(p))
    return optax.apply_updates(p, updates), state


def read_outs(state, p):
    x = nv.iterate(state, p)
    return p, x, nv.evaluation_point(state, p), nv.velocity(state, p), nv.from_iterate(state, x)


def trajectory(optimizer, start, calls=STEPS):
    """Every read-out and the count of restarts after some calls, of a scan."""
    carry = start, optimizer.init(start)
    (p, state), _ = jax.lax.scan(lambda carry, _: (advance(optimizer, *carry), None), carry, length=calls)
    return read_outs(state, p), nv.restarts(state)


# What is tested here is algebra, of many programs that run once: let XLA be quick.
QUICK = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}


def jitted(function, rows=ROWS):
    """`over_rows` as one compiled program, in NumPy."""
    return jax.tree.map(np.asarray, jax.jit(lambda: over_rows(function, rows), compiler_options=QUICK)())


@cache
def plain(leaves="ab"):
    """The bare optimizers, on some of the leaves."""
    return jitted(lambda row: trajectory(make(row), {k: w for k, w in params().items() if k in leaves}))


@cache
def of_dtype(dtype):
    turn = 1 + 0.5j if dtype.startswith("complex") else 1.0

    def run(row):
        start = jax.tree.map(lambda w: (w * turn).astype(dtype), params())
        optimizer = make(row)
        state = optimizer.init(start)
        updates, after = optimizer.update(gradient(start), state, start, value=loss(start))
        large = {leaf.dtype for leaf in jax.tree.leaves((updates, state, after)) if leaf.ndim}
        assert large == {jnp.dtype(dtype)}
        return trajectory(optimizer, start)[0]

    return jitted(run)


def assert_close(found, expected, row, rtol=1e-6):
    """Equal dtypes, and values to some units of rounding of the largest."""
    assert jax.tree.structure(found) == jax.tree.structure(expected), row
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        assert a.dtype == b.dtype, row
        np.testing.assert_allclose(a, b, rtol=0, atol=rtol * max(1, np.max(np.abs(b), initial=0)), err_msg=row)


# Every way of composing.


def injected(row):
    function, arguments = ROWS[row]
    return optax.inject_hyperparams(function)(**arguments)


def by_turns(row):
    """The usual way with masks: each link leaves the other's parameters alone."""
    return optax.chain(
        optax.masked(make(row), {"a": True, "b": False}), optax.masked(optax.sgd(LR), {"a": False, "b": True})
    )


def parted(optimizer, other):
    return optax.partition({1: optimizer, 2: other}, {"a": 1, "b": 2})


WRAPPERS = {  # of a row's name; the leaves that the row then moves
    "chain": (lambda row: optax.chain(optax.clip(1e3), make(row)), "ab"),
    "named_chain": (lambda row: optax.named_chain(("z", optax.clip(1e3)), ("a", make(row))), "ab"),
    "inject_hyperparams": (injected, "ab"),
    "apply_if_finite": (lambda row: optax.apply_if_finite(make(row), 3), "ab"),
    "conditionally_transform": (lambda row: optax.conditionally_transform(make(row), lambda step: step >= 0), "ab"),
    "masked": (lambda row: optax.masked(make(row), {"a": True, "b": False}), "a"),
    "masked by turns": (by_turns, "a"),
    "partition": (lambda row: parted(make(row), optax.sgd(LR)), "a"),
    "partition of two": (lambda row: parted(make(row), nv.nag(LR)), "a"),
}


@cache
def wrapped(wrapper):
    wrap, _ = WRAPPERS[wrapper]
    return jitted(lambda row: trajectory(wrap(row), params()))


@pytest.mark.parametrize("row", ROWS)
@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_a_wrapper_changes_neither_the_path_nor_the_read_outs(wrapper, row):
    leaves = WRAPPERS[wrapper][1]
    (seen, restarts), (expected, expected_restarts) = wrapped(wrapper)[row], plain(leaves)[row]
    assert_close(tuple({k: p[k] for k in leaves} for p in seen), expected, row)
    assert restarts == expected_restarts


def test_leaves_that_no_look_ahead_moves_are_their_own_iterate():
    for wrapper in ("masked", "masked by turns", "partition"):
        for row, ((p, x, point, velocity, back), _) in wrapped(wrapper).items():
            for same in (x, point, back):
                np.testing.assert_array_equal(same["b"], p["b"], err_msg=row)
            np.testing.assert_array_equal(velocity["b"], 0, err_msg=row)


def test_wrappers_in_wrappers():
    """MultiSteps around apply_if_finite around a partition of a chain: read through all of it."""
    rows = ["nag, schedules", "item", "outer_nesterov"]

    def nest(row):
        inner = parted(optax.named_chain(("clip", optax.clip(1e3)), ("row", make(row))), nv.nag(LR))
        return optax.MultiSteps(optax.apply_if_finite(optax.chain(optax.identity(), inner), 3), 1)

    for row, (seen, _) in jitted(lambda row: trajectory(nest(row), params()), rows).items():
        assert_close(tuple({"a": p["a"]} for p in seen), plain("a")[row][0], row)


def test_multi_steps_averages_gradients(x64):
    """Two calls a step, on gradients 2g and 0: to 1e-7, the float32 weight that MultiSteps keeps inside."""

    def run(row):
        optimizer = optax.MultiSteps(make(row), 2)

        def step(call, carry):
            p, state = carry
            g = jax.tree.map(lambda w: jnp.where(call % 2, 0.0, 2.0) * w, gradient(p))
            updates, state = optimizer.update(g, state, p, value=loss(p))
            return optax.apply_updates(p, updates), state

        p, state = jax.lax.fori_loop(0, 2 * STEPS, step, (params(), optimizer.init(params())))
        return read_outs(state, p)

    for row, seen in jitted(run).items():
        assert_close(seen, of_dtype("float64")[row], row, rtol=1e-7)


def numbers(row):
    """The numeric arguments of a row, defaults included."""
    function, arguments = ROWS[row]
    bound = inspect.signature(function).bind(**arguments)
    bound.apply_defaults()
    return {k: v for k, v in bound.arguments.items() if isinstance(v, int | float) and not isinstance(v, bool)}


def test_injected_numbers_are_the_plain_ones(x64):
    """Every numeric argument becomes a hyperparameter, and the path is the same in double precision."""
    for row, (seen, _) in jitted(lambda row: trajectory(injected(row), params())).items():
        assert_close(seen, of_dtype("float64")[row], row, rtol=1e-14)
        assert set(numbers(row)) <= set(injected(row).init(params()).hyperparams), row


SCHEDULED = {  # coefficients that may be functions
    "nesterov_lookahead": ("momentum", "correction", "step_weight"),
    "nag": ("learning_rate", "momentum"),
    "heavy_ball": ("learning_rate", "momentum"),
    "mass": ("momentum",),
    "qhm": ("learning_rate",),
    "schedule_free": ("learning_rate",),
}


def test_an_injected_schedule_is_the_schedule(x64):
    def of(row, wrap):
        function, arguments = ROWS[row]
        return wrap(function)(**arguments | dict.fromkeys(SCHEDULED[row], lambda t: 0.1 + 0.5 / (1.0 + t)))

    found, expected = (
        jitted(lambda row, w=w: trajectory(of(row, w), params())[0], SCHEDULED)
        for w in (optax.inject_hyperparams, lambda function: function)
    )
    for row in SCHEDULED:
        assert_close(found[row], expected[row], row, rtol=1e-14)


@pytest.mark.parametrize("row", ROWS)
def test_tracers_are_let_through_untouched(row):
    """Each numeric argument in turn, whatever it will turn out to be: nothing is compared in Python."""
    function, arguments = ROWS[row]

    def run(name, traced):
        optimizer = function(**arguments | {name: traced})
        return advance(optimizer, params(), optimizer.init(params()))

    for name, number in numbers(row).items():
        p, _ = jax.eval_shape(partial(run, name), jnp.asarray(number))
        assert jax.tree.map(lambda w: w.shape, p) == {"a": (3,), "b": (2, 2)}, name


def test_restarts_and_schedules_let_tracers_through():
    """Their arguments too: under a jit, nobody can compare them."""

    def run(number, whole):
        momenta = (
            nv.from_condition_number(number),
            nv.friction(number)(whole),
            nv.rational(number, number)(whole),
            nv.sutskever(number, number)(whole),
            nv.nesterov_2004(number, number)(0),
        )
        optimizers = [nv.nag(LR, restart=rule(whole)) for rule in (nv.speed_restart, nv.periodic_restart)]
        return momenta, [optimizer.update(number, optimizer.init(number))[0] for optimizer in optimizers]

    jax.eval_shape(run, jnp.asarray(0.5), jnp.asarray(0))


def test_a_step_that_is_not_finite_is_skipped(x64):
    """`apply_if_finite`: as if the call with a NaN had never been made."""

    def run(row):
        optimizer = optax.apply_if_finite(make(row), 3)

        def step(call, carry):
            p, state = carry
            g = jax.tree.map(lambda w: jnp.where(call == 2, jnp.nan, w), gradient(p))
            updates, state = optimizer.update(g, state, p, value=loss(p))
            return optax.apply_updates(p, updates), state

        p, state = jax.lax.fori_loop(0, STEPS + 1, step, (params(), optimizer.init(params())))
        return read_outs(state, p)

    rows = [row for row in ROWS if row != "outer_nesterov"]  # its inner steps are finite, its parameters are not
    for row, seen in jitted(run, rows).items():
        assert_close(seen, of_dtype("float64")[row], row, rtol=1e-14)


def test_a_call_that_is_passed_by_moves_both_points_alike():
    """`conditionally_transform` past its steps hands the raw update through: y and x move, y - x does not."""

    def run(row):
        optimizer = optax.conditionally_transform(make(row), lambda step: step < 1)
        p, state = advance(optimizer, params(), optimizer.init(params()))
        moved, after = advance(optimizer, p, state)
        step = gradient(p)
        return (nv.velocity(after, moved), moved), (nv.velocity(state, p), jax.tree.map(jnp.add, p, step))

    for row, (found, expected) in jitted(run).items():
        assert_close(found, expected, row)


@pytest.mark.parametrize("row", ROWS)
def test_map_params_tells_the_parameters_from_the_scalars(row):
    optimizer = make(row)
    state = optimizer.init(params())
    marked = optax.tree.map_params(optimizer, lambda _: "p", state, transform_non_params=lambda _: "s")
    for mark, leaf in zip(jax.tree.leaves(marked), jax.tree.leaves(state), strict=True):
        assert mark == ("p" if leaf.ndim else "s")
    assert jax.tree.leaves(marked).count("p") == (6 if row == "outer_nesterov" else 2)


class Model(nnx.Module):
    def __init__(self):
        self.a, self.b = (nnx.Param(w) for w in params().values())


def test_flax_nnx():
    def run(row):
        model = Model()
        graph, start = nnx.split((model, nnx.Optimizer(model, make(row), wrt=nnx.Param)))

        def step(_, held):
            model, optimizer = nnx.merge(graph, held)
            p = nnx.state(model, nnx.Param)
            optimizer.update(model, gradient(p), value=loss(p))
            return nnx.split((model, optimizer))[1]

        model, optimizer = nnx.merge(graph, jax.lax.fori_loop(0, STEPS, step, start))
        points = read_outs(optimizer.opt_state, nnx.state(model, nnx.Param))
        return tuple(nnx.to_pure_dict(point) for point in points), nv.restarts(optimizer.opt_state)

    assert_plain(jitted(run))


def test_flax_train_state():
    """Its `apply_gradients` hands no loss on, so that the function rule is out of its reach."""

    def run(row):
        start = TrainState.create(apply_fn=None, params=params(), tx=make(row))
        state = jax.lax.fori_loop(0, STEPS, lambda _, state: state.apply_gradients(grads=gradient(state.params)), start)
        return read_outs(state.opt_state, state.params), nv.restarts(state.opt_state)

    assert_plain(jitted(run, [row for row in ROWS if row != "nag, function restart"]))


def assert_plain(found):
    for row, (seen, restarts) in found.items():
        expected, expected_restarts = plain()[row]
        assert_close(seen, expected, row)
        assert restarts == expected_restarts, row


# What a compiled step needs.


def start_all(of=params, rows=ROWS):
    """Parameters and states of rows, none of them shared."""

    def start(row):
        p = of()
        return p, make(row).init(p)

    return over_rows(start, rows)


def advance_all(carry):
    return over_rows(lambda row: advance(make(row), *carry[row]), carry)


@cache
def stepper():
    return jax.jit(advance_all, compiler_options=QUICK)


def two_steps(carry):
    return stepper()(stepper()(carry))


def test_a_step_is_compiled_once():
    """Shapes, dtypes and weak types of the state stay what init made them."""
    carry = start_all()
    for _ in range(3):
        carry = stepper()(carry)
    assert stepper()._cache_size() == 1


@pytest.mark.parametrize("row", ROWS)
def test_the_state_is_of_the_same_types_after_a_step(row):
    optimizer = make(row)
    before = params(), optimizer.init(params())
    after = jax.eval_shape(partial(advance, optimizer), *before)
    assert jax.eval_shape(lambda: before) == after
    assert [w.weak_type for w in jax.tree.leaves(after)] == [jax.typeof(w).weak_type for w in jax.tree.leaves(before)]


@pytest.mark.parametrize("row", ROWS)
def test_init_takes_shapes(row):
    """By `eval_shape`, without making an array; all that is as large as the parameters is of their dtype."""
    shapes = jax.eval_shape(lambda: params(jnp.bfloat16))
    state = jax.eval_shape(make(row).init, shapes)
    large = [leaf for leaf in jax.tree.leaves(state) if leaf.ndim]
    assert {leaf.dtype for leaf in large} == {np.dtype(jnp.bfloat16)}
    assert sum(leaf.size for leaf in large) == (3 if row == "outer_nesterov" else 1) * (3 + 4)


def test_parameters_and_state_can_be_donated():
    """All that is large is taken over, nothing is given twice, and no warning is given."""
    step = jax.jit(advance_all, donate_argnums=0, compiler_options=QUICK)
    carry = start_all()
    for _ in range(2):
        given, carry = carry, step(carry)
        for row, leaves in given.items():
            assert all(leaf.is_deleted() for leaf in jax.tree.leaves(leaves) if leaf.ndim), row


def test_the_step_is_exported_for_platforms_that_are_not_here():
    platforms = ("cpu", "cuda", "rocm", "tpu")

    def step(carry):
        carry = advance_all(carry)
        return carry, over_rows(lambda row: read_outs(carry[row][1], carry[row][0]))

    exported = jax.export.export(jax.jit(step), platforms=platforms)(jax.eval_shape(start_all))
    assert exported.platforms == platforms


@pytest.mark.tpu_aot
def test_the_step_of_every_member_is_compiled_for_a_tpu(v5e):
    layout = jax.sharding.NamedSharding(v5e, jax.sharding.PartitionSpec())
    carry = jax.eval_shape(start_all)
    carry = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=layout), carry)
    made = jax.jit(advance_all).lower(carry).compile()
    assert "f64[" not in made.as_text()
    print(f"{len(ROWS)} members: {made.memory_analysis()}")


# Sharded over eight devices, which need a process of their own.


def on_eight_devices():
    """Printed as JSON: by row, the largest error against one device, and whether the layout was kept."""
    whole = {"a": jnp.linspace(-1.0, 1.0, 16), "b": jnp.sin(jnp.arange(8.0 * 1024)).reshape(8, 1024)}
    alone = two_steps(start_all(lambda: whole))
    found = {}
    summing = [row for row in ROWS if "restart" in row or row in ("nag", "outer_nesterov")]
    for kind, rows in {jax.sharding.AxisType.Auto: ROWS, jax.sharding.AxisType.Explicit: summing}.items():
        mesh = jax.make_mesh((8,), ("x",), axis_types=(kind,))
        layout = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("x"))
        with jax.set_mesh(mesh):
            shared = two_steps(start_all(lambda layout=layout: jax.device_put(whole, layout), rows))

        def compare(row, shared=shared, layout=layout):
            pairs = list(zip(jax.tree.leaves(shared[row]), jax.tree.leaves(alone[row]), strict=True))
            error = max(float(np.max(np.abs(np.asarray(a) - np.asarray(b)))) for a, b in pairs)
            return error, all(a.sharding.is_equivalent_to(layout, a.ndim) for a, _ in pairs if a.ndim)

        found[kind.name] = over_rows(compare, rows)
    print(json.dumps(found | {"moved": leaves_cut_across(shared["nag, gradient restart"])}))


def leaves_cut_across(carry):
    """How often a step with a restart rule sends parts of a leaf from device to device."""
    step = jax.jit(partial(advance, make("nag, gradient restart")))
    text = step.lower(*carry).compile().as_text()
    return sum(text.count(f" {move}(") for move in ("collective-permute", "all-gather", "all-to-all"))


def test_sharded_parameters_stay_sharded():
    environment = os.environ | {"XLA_FLAGS": "--xla_force_host_platform_device_count=8", "JAX_PLATFORMS": "cpu"}
    code = f"import runpy; runpy.run_path({__file__!r})['on_eight_devices']()"
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found.pop("moved") == 0  # with explicit shardings; a rule's sum takes one all-reduce
    assert found["Auto"].keys() == ROWS.keys()
    for kind, rows in found.items():
        for row, (error, kept) in rows.items():
            assert error < 1e-6, (kind, row)
            assert kept, (kind, row)


# Dtypes and trees.

DTYPES = ("float16", "bfloat16", "float32", "float64", "complex64", "complex128")


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_dtype_is_kept(x64, dtype):
    """Updates, large state and read-outs are of the parameters' dtype; the path is right to its rounding."""
    exact = "complex128" if dtype.startswith("complex") else "float64"
    for row, seen in of_dtype(dtype).items():
        assert {w.dtype for w in jax.tree.leaves(seen)} == {jnp.dtype(dtype)}, row
        widened = jax.tree.map(lambda w: w.astype(exact), seen)
        assert_close(widened, of_dtype(exact)[row], row, rtol=4 * float(jnp.finfo(dtype).eps))


def test_the_displacement_may_be_wider_than_the_parameters():
    rows = [row for row in ROWS if "accumulator_dtype" in inspect.signature(ROWS[row][0]).parameters]
    assert set(ROWS) - set(rows) == {"outer_nesterov"}

    def run(row):
        function, arguments = ROWS[row]
        optimizer = function(**arguments, accumulator_dtype=jnp.float32)
        start = params(jnp.bfloat16)
        state = optimizer.init(start)
        updates, after = optimizer.update(gradient(start), state, start, value=loss(start))
        assert {w.dtype for w in jax.tree.leaves((state, after)) if w.ndim} == {np.dtype(np.float32)}
        assert {w.dtype for w in jax.tree.leaves(updates)} == {np.dtype(jnp.bfloat16)}
        return trajectory(optimizer, start)[0]

    for row, seen in jitted(run, rows).items():
        expected = jax.tree.map(lambda w: w.astype(jnp.bfloat16), plain()[row][0])
        assert_close(*(jax.tree.map(lambda w: w.astype(float), t) for t in (seen, expected)), row, rtol=0.05)


@jax.tree_util.register_dataclass
@dataclasses.dataclass
class Layer:
    a: jax.Array
    b: jax.Array


TREES = {
    "tuple": lambda a, b: (a, b),
    "dataclass": lambda a, b: {"layer": Layer(a, b), "none": None},
    "nested": lambda a, b: ([a], {"b": (None, b), "c": (), "d": {}}),
}


@pytest.mark.parametrize("kind", TREES)
def test_parameters_are_any_tree(kind):
    tree = TREES[kind](*params().values())
    for row, (seen, restarts) in jitted(lambda row: trajectory(make(row), tree)).items():
        expected, expected_restarts = plain()[row]
        for point, other in zip(seen, expected, strict=True):
            assert jax.tree.structure(point) == jax.tree.structure(tree), row
            assert_close(jax.tree.leaves(point), jax.tree.leaves(other), row)
        assert restarts == expected_restarts, row


@pytest.mark.parametrize("tree", [{}, (), [], {"a": None}, {"a": (), "b": {}}], ids=repr)
def test_parameters_may_be_none_at_all(tree):
    def run(row):
        return trajectory(make(row), tree)[0]

    for row, seen in jax.eval_shape(partial(over_rows, run)).items():
        assert all(point == tree for point in seen), row


def test_leaves_may_be_empty_or_scalars():
    tree = {"empty": jnp.zeros((0, 3)), "scalar": jnp.ones(())}
    for row, (seen, _) in jitted(lambda row: trajectory(make(row), tree)).items():
        assert all(point["empty"].shape == (0, 3) and np.isfinite(point["scalar"]) for point in seen), row


# Saved and loaded.


def halfway():
    return two_steps(start_all())


def assert_bits_equal(found, expected):
    assert jax.tree.structure(found) == jax.tree.structure(expected)
    for (path, a), b in zip(jax.tree.leaves_with_path(found), jax.tree.leaves(expected), strict=True):
        assert np.asarray(a).tobytes() == np.asarray(b).tobytes(), jax.tree_util.keystr(path)
        assert a.dtype == b.dtype, jax.tree_util.keystr(path)


def test_an_orbax_checkpoint_goes_on_to_the_bit(tmp_path):
    carry = halfway()
    with orbax.checkpoint.StandardCheckpointer() as checkpointer:
        checkpointer.save(tmp_path / "step", carry)
        checkpointer.wait_until_finished()
        restored = checkpointer.restore(tmp_path / "step", jax.eval_shape(lambda: carry))
    assert_bits_equal(restored, carry)
    assert_bits_equal(stepper()(restored), stepper()(carry))


def test_an_exported_step_goes_on_to_the_bit():
    """Serialised with the trees of its states; those of Optax are its own to register, and it does not."""
    pytest.importorskip("flatbuffers", reason="jax.export serialises with it")
    for kind in (optax.EmptyState, optax.ScaleByScheduleState, optax.TraceState):
        jax.export.register_namedtuple_serialization(kind, serialized_name=f"optax.{kind.__name__}")
    carry = halfway()
    blob = jax.export.export(stepper())(carry).serialize()
    loaded = jax.jit(jax.export.deserialize(blob).call, compiler_options=QUICK)
    assert_bits_equal(loaded(loaded(carry)), two_steps(carry))


# A look-ahead that is not last.


def misplaced(row):
    """What rescales the output of a row, in every place that the state gives away."""
    late = optax.chain(make(row), optax.scale(0.5))
    return {
        "chain": late,
        "chain in a chain": optax.chain(optax.clip(1e3), late),
        "before a chain": optax.chain(optax.chain(optax.clip(1e3), make(row)), optax.scale(0.5)),
        "named_chain": optax.named_chain(("z", make(row)), ("a", optax.scale(0.5))),
        "named_chain in a chain": optax.chain(
            optax.identity(), optax.named_chain(("z", make(row)), ("a", optax.clip(1)))
        ),
        "inject_hyperparams": optax.inject_hyperparams(lambda size: optax.chain(make(row), optax.scale(size)))(0.5),
        "before inject_hyperparams": optax.chain(make(row), optax.inject_hyperparams(optax.scale)(0.5)),
        "MultiSteps": optax.MultiSteps(late, 1),
        "apply_if_finite": optax.apply_if_finite(late, 3),
        "conditionally_transform": optax.conditionally_transform(late, lambda step: step >= 0),
        "masked": optax.masked(late, {"a": True, "b": False}),
        "before masked": optax.chain(make(row), optax.masked(optax.scale(0.5), {"a": True, "b": False})),
        "masked before all": optax.chain(optax.masked(make(row), {"a": True, "b": False}), optax.scale(0.5)),
        "partition": parted(late, optax.sgd(LR)),
        "partition before all": optax.chain(parted(make(row), optax.sgd(LR)), optax.scale(0.5)),
        "another look-ahead": optax.chain(make(row), nv.nesterov_lookahead(0.5)),
        "weight decay": optax.chain(make(row), optax.add_decayed_weights(0.1)),
    }


@pytest.mark.parametrize("row", ROWS)
def test_read_outs_refuse_a_look_ahead_that_is_not_last(row):
    p = params()
    for place, optimizer in misplaced(row).items():
        state = optimizer.init(p)
        for read in (nv.iterate, nv.evaluation_point, nv.velocity, nv.from_iterate):
            assert refusal(read, state, p), place
        assert refusal(nv.restarts, state), place


def refusal(read, *arguments):
    try:
        read(*arguments)
    except ValueError as error:
        return "look-ahead is not last: " in str(error) and "move nesterov_lookahead to the end" in str(error)
    return False


def test_the_state_of_a_jitted_named_chain_keeps_its_order():
    """Its keys are not sorted on the way through a jit, so that the refusal, and its absence, stand."""
    late = optax.named_chain(("z", nv.nag(LR)), ("a", optax.scale(0.5)))
    last = optax.named_chain(("z", optax.clip(1e3)), ("a", nv.nag(LR)))
    states = jax.jit(lambda: tuple(advance(o, params(), o.init(params()))[1] for o in (late, last)))()
    with pytest.raises(ValueError, match="look-ahead is not last: EmptyState"):
        nv.iterate(states[0], params())
    nv.iterate(states[1], params())


# Numbers out of range.

REFUSED = [  # a call; the argument, the value and the remedy that the error names
    *(
        (lambda f=f, n=n, v=v: f(**{"learning_rate": LR, "condition_number": 9.0, n: v}), n, v, "")
        for f, n, v in [
            (optim.triple_momentum, "condition_number", 0.5),
            (optim.item, "condition_number", 0.99),
            (optim.triple_momentum, "condition_number", float("nan")),
            (optim.triple_momentum, "learning_rate", -1.0),
        ]
    ),
    *(
        (lambda f=f, n=n, v=v: f(**{"learning_rate": LR, n: v}), n, v, remedy)
        for f, n, v, remedy in [
            (optim.nag, "momentum", 1.01, "from 0 to 1"),
            (optim.nag, "momentum", -0.01, "from 0 to 1"),
            (optim.nag, "momentum", float("nan"), "from 0 to 1"),
            (optim.nag, "learning_rate", float("inf"), "finite"),
            (optim.heavy_ball, "momentum", 2, "from 0 to 1"),
            (optim.qhm, "nu", 1.5, "from 0 to 1"),
            (optim.qhm, "beta", -0.5, "from 0 to 1"),
            (optim.ogm, "horizon", 0, "at least 1"),
            (optim.schedule_free, "beta", 0.0, "above 0"),
            (optim.schedule_free, "beta", 1.5, "at most 1"),
            (optim.primal_averaging, "mu_y", 0.0, "above 0"),
            (optim.primal_averaging, "mu_x", 1.0, "below 1"),
            (optim.ema_nesterov, "decay", 1.0, "below 1"),
            (optim.ema_nesterov, "lookahead", 1.5, "from 0 to 1"),
            (optim.nag, "restart", "gradient", "gradient_restart()"),
            (optim.nag, "restart", True, "gradient_restart()"),
            (optim.nag, "restart", optim.gradient_restart, "gradient_restart()"),
        ]
    ),
    (lambda: optim.robust_momentum(LR, 1.0, 0.5), "condition_number", 1.0, "at least"),
    (lambda: optim.item(LR, 1.0), "condition_number", 1.0, "at least"),
    (lambda: optim.robust_momentum(LR, 9.0, 0.6), "rate", 0.6, "from 0.666667 to 0.888889"),
    (lambda: optim.robust_momentum(LR, 9.0, 0.9), "rate", 0.9, "from 0.666667 to 0.888889"),
    (lambda: optim.mass(0.0, 0.1), "eta1", 0.0, "positive"),
    (lambda: optim.mass(0.1, -0.1), "eta2", -0.1, "not negative"),
    (lambda: optim.mass(0.1, 0.1, 1.5), "momentum", 1.5, "from 0 to 1"),
    (lambda: optim.agnes(0.0, 0.1), "eta", 0.0, "positive"),
    (lambda: optim.agnes(0.1, -0.1), "alpha", -0.1, "not negative"),
    (lambda: optim.agnes(0.1, 0.1, 1.1), "rho", 1.1, "from 0 to 1"),
    (lambda: optim.nesterov_lookahead(float("nan")), "momentum", "nan", "finite"),
    (lambda: optim.nesterov_lookahead(correction=float("inf")), "correction", "inf", "finite"),
    (lambda: optim.nesterov_lookahead(step_weight=float("inf")), "step_weight", "inf", "finite"),
    (lambda: optim.nesterov_lookahead(evaluation=float("inf")), "evaluation", "inf", "finite"),
    (lambda: optim.nesterov_lookahead(restart="speed"), "restart", "speed", "speed_restart()"),
    (lambda: optim.outer_nesterov(optax.sgd(LR), 0), "steps", 0, "at least 1"),
    (lambda: optim.outer_nesterov(optax.sgd(LR), 2, -0.1), "learning_rate", -0.1, "not negative"),
    (lambda: optim.outer_nesterov(optax.sgd(LR), 2, 0.7, 1.5), "momentum", 1.5, "from 0 to 1"),
    (lambda: optim.from_condition_number(0.9), "condition_number", 0.9, "at least 1"),
    (lambda: optim.nesterov_2004(0.5, 0.5), "condition_number", 0.5, "at least 1"),
    (lambda: optim.nesterov_2004(100.0, 0.05), "a0", 0.05, "0.1"),
    (lambda: optim.nesterov_2004(100.0, 1.0), "a0", 1.0, "1/sqrt"),
    (lambda: optim.friction(2.9), "r", 2.9, "rational(0, r)"),
    (lambda: optim.friction(float("inf")), "r", "inf", "finite"),
    (lambda: optim.rational(3, 3), "k", 3, "below n = 3"),
    (lambda: optim.rational(-2, 0), "n", 0, "positive"),
    (lambda: optim.sutskever(1.5), "maximum", 1.5, "from 0 to 1"),
    (lambda: optim.sutskever(0.9, 0), "period", 0, "at least 1"),
    (lambda: optim.speed_restart(0), "min_age", 0, "at least 1"),
    (lambda: optim.periodic_restart(0), "period", 0, "at least 1"),
    (lambda: optim.periodic_restart(1, reject=True), "period", 1, "at least 2"),
    (lambda: optim.step_shares(lambda age: (1.0, 0.0, 0.0), 0), "steps", 0, "at least 1"),
]


@pytest.mark.parametrize(("call", "argument", "value", "remedy"), REFUSED)
def test_a_number_out_of_range_is_refused_by_name_value_and_remedy(call, argument, value, remedy):
    with pytest.raises(ValueError, match=rf"^{argument} must be ") as refusal:
        call()
    message = str(refusal.value)
    assert f"got {value}" in message or f"got {value!r}" in message
    assert remedy in message


@pytest.mark.parametrize("kind", [int, float, np.float16, np.float32, np.float64, np.int64])
def test_a_number_is_refused_whatever_its_type(kind):
    with pytest.raises(ValueError, match="momentum must be from 0 to 1"):
        optim.nag(LR, kind(2))


ENDS = {
    "rate 0, momentum 0": lambda: optim.nag(0.0, 0.0),
    "momentum 1": lambda: optim.nag(LR, 1.0),
    "nu 0, beta 0": lambda: optim.qhm(LR, 0.0, 0.0),
    "nu 1, beta 1": lambda: optim.qhm(LR, 1.0, 1.0),
    "horizon 1": lambda: optim.ogm(LR, 1),
    "condition number 1": lambda: optim.triple_momentum(LR, 1.0),
    "the fastest rate": lambda: optim.robust_momentum(LR, 9.0, 1 - 1 / 3),
    "the slowest rate": lambda: optim.robust_momentum(LR, 9.0, 1 - 1 / 9),
    "beta 1": lambda: optim.schedule_free(LR, 1.0),
    "mu_y 1, mu_x 0": lambda: optim.primal_averaging(LR, 1.0, 0.0),
    "decay 0, look-ahead 0": lambda: optim.ema_nesterov(LR, 0.0, 0.0),
    "friction 3": lambda: optim.nag(LR, optim.friction(3)),
    "momentum of condition number 1": lambda: optim.nag(LR, optim.from_condition_number(1)),
    "a0 1/sqrt k": lambda: optim.nag(LR, optim.nesterov_2004(100.0, 0.1)),
    "one inner step": lambda: optim.outer_nesterov(optax.sgd(LR), 1, 1.0, 0.0),
}


def test_every_end_of_a_range_is_taken():
    for end, (seen, _) in jitted(lambda end: trajectory(ENDS[end](), params()), ENDS).items():
        assert all(np.isfinite(w).all() for w in jax.tree.leaves(seen)), end
