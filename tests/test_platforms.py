"""What runs on accelerators is made for them here, where none is: it holds what each of them has, and no more."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import nagviz as nv
from nagviz.experiment import training
from nagviz.landscape.spreading import Place
from nagviz.landscape.surface import Question, ask
from nagviz.landscape.sweep import Plan, programs

BATCH = {"x": np.ones((8, 2, 5, 5), np.float32), "y": np.ones(8, np.float32)}


def start(seed):
    draw = np.random.default_rng(seed)
    shapes = {"kernel": (4, 2, 3, 3), "w": (4, 3)}
    return {name: draw.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}


def loss(params, batch):
    hidden = jax.nn.relu(jax.lax.conv(batch["x"], params["kernel"], (1, 1), "SAME")).mean((2, 3))
    return -jnp.mean(jax.nn.log_softmax(hidden @ params["w"])[:, 0] * batch["y"])


def shapes_of(tree):
    return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), tree)


def slicing(way, order, mesh=None):
    """The programs of a slice, each with the shapes of what it is given."""
    plane = nv.Plane(start(0), (start(1), start(2)))
    asked = ask(Question({"loss": loss}, [BATCH], order=order), plane)
    task = asked.task._replace(place=mesh and Place(mesh, together=False))
    made = programs(task, shapes_of(BATCH), Plan(None, 64, way, True))
    return [(made.prepare, shapes_of(made.arguments)), (made.call, made.shapes)]


def chunk(mesh=None):
    """The program that trains, with the shapes of what it is given."""
    optimizer, samples = optax.with_extra_args_support(nv.nag(0.1)), jax.device_put(BATCH)
    plan = training.Plan(6, np.array([2, 6]), chunk=6, pieces=2)
    step = training._step(loss, optimizer, True, mesh)
    carry = jax.eval_shape(lambda: training.begun(start(0), optimizer))
    drawn = training.Batches(samples, 4, 0).indices
    given = training._orders(plan, (0, 6), training.Source(samples, drawn))
    return training._chunk_function(step, training._seeing(nv.iterate), plan), (carry, *shapes_of((samples, *given)))


@pytest.mark.parametrize(
    "made",
    [lambda: slicing("map", 0, one_device()), lambda: slicing("vmap", 1), lambda: [chunk()]],
    ids=["slice on a mesh", "slice with gradient", "training"],
)
def test_what_computes_is_exported_for_platforms_that_are_not_here(made):
    platforms = ("cpu", "cuda", "rocm", "tpu")
    for program, given in made():
        exported = jax.export.export(program, platforms=platforms)(*given)
        assert exported.platforms == platforms
        assert "f64" not in exported.mlir_module()  # which no TPU computes in
        assert "callback" not in exported.mlir_module()


# Compiled for TPUs that are not here either: `pip install -e '.[test,tpu]'` in an environment of its own, and
# `pytest -m tpu_aot`, which prints what memory each program takes.

COLLECTIVES = ("all-reduce", "all-gather", "all-to-all", "collective-permute", "reduce-scatter")


def compiled(name, program, given, mesh, *parts):
    """The text of a program for the devices of a mesh, each argument laid over them as told; no float64 is in it."""
    layouts = [jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec(*part)) for part in parts]
    placed = [
        jax.tree.map(lambda leaf, to=layout: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=to), argument)
        for argument, layout in zip(given, layouts, strict=True)
    ]
    made = program.lower(*placed).compile()
    memory = made.memory_analysis()
    print(
        f"{name}, bytes of a device: arguments {memory.argument_size_in_bytes:,}, results "
        f"{memory.output_size_in_bytes:,}, temporary {memory.temp_size_in_bytes:,}, "
        f"program {memory.generated_code_size_in_bytes:,}"
    )
    text = made.as_text()
    assert "f64[" not in text
    return text


@pytest.mark.tpu_aot
@pytest.mark.parametrize(("way", "order"), [("map", 0), ("vmap", 1)])
def test_the_devices_of_a_tpu_do_not_talk_while_they_slice(v5e, way, order):
    (prepare, given), (call, asked) = slicing(way, order, v5e)
    text = compiled("prepare", prepare, given, v5e, (), (), (), ())
    text += compiled("points", call, asked, v5e, (), ("grid",), ("grid",))
    assert not [word for word in COLLECTIVES if word in text]


@pytest.mark.tpu_aot
def test_the_devices_of_a_tpu_train_together(v5e):
    program, given = chunk(v5e)
    text = compiled("training", program, given, v5e, (), (), (None, "grid"), (), ())
    assert "all-reduce" in text  # of the gradients: what COLLECTIVES are looked for in is such a text


def one_device():
    return jax.make_mesh((1,), ("grid",), axis_types=(jax.sharding.AxisType.Auto,))
