"""What each process of tests/landscape/test_mesh.py does; the tests call the same functions on one device."""

import json
import os
import re
import signal
import sys
from concurrent.futures import Future
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

import nagviz as nv
from nagviz.landscape import arrays as disk
from nagviz.landscape import parameters, shards
from nagviz.landscape.surface import Question, ask
from nagviz.landscape.sweep import Plan, compiler

X, Y = np.linspace(-1, 1, 5), np.linspace(-2, 2, 3)  # 15 points: no number of devices divides them
FIXED = nv.Effort(points=2, way="map", linear=True)  # so that nothing is compiled to be tried
shards._BLOCK = 20  # bytes: arrays of several processes are read in parts
TILES = FIXED._replace(tile=2)  # nine of them


def setting(seed=0):
    """A loss, a plane and data."""
    draw = np.random.default_rng(seed)
    axes = tuple(jnp.asarray(draw.normal(size=8), jnp.float32) for _ in range(2))
    data = [draw.normal(size=(n, 8)).astype(np.float32) for n in (40, 9)]

    def loss(w, batch, statistics=0.0):
        return jnp.mean(jnp.tanh(batch @ w[:, None] + statistics) ** 2) + jnp.where(w[0] > 1.4, jnp.nan, 0.0)

    return loss, nv.Plane(jnp.zeros(8), axes), data


def cut(mesh=None, *, seed=0, effort=FIXED, **options):
    loss, plane, data = setting(seed)
    return nv.evaluate(loss, plane, X, Y, batches=data, effort=effort, mesh=mesh, **options)


def laid_out(mesh):
    """The slice of a plane and of data that lie on all devices, where that mesh is set: without a mesh, and on it."""
    loss, plane, data = setting()
    given, rows = jax.process_count() == 1, PartitionSpec(*mesh.axis_names)
    spread = lambda tree, spec: jax.tree.map(lambda leaf: laid(np.asarray(leaf), mesh, spec), tree)  # noqa: E731
    with jax.set_mesh(mesh):
        there = nv.Plane(*(spread(part, PartitionSpec()) for part in (plane.origin, plane.axes)))
        batches = [spread(data[0], rows if given else PartitionSpec()), spread(data[1], PartitionSpec())]
        slices = [nv.evaluate(loss, there, X, Y, batches=batches, effort=FIXED, mesh=each) for each in (None, mesh)]
    return [made.values.tolist() for made in slices]


def recomputed(mesh=None):
    return cut(mesh, statistics=lambda w, batch: jnp.mean(batch @ w)).values


def refined(mesh=None):
    axis = np.linspace(-1, 1, 9)
    bowl = nv.Plane(jnp.zeros(2), tuple(jnp.eye(2)))
    return nv.refine(
        lambda w: jnp.exp(w[0]) + w[1] ** 2, bowl, axis, axis, tolerance=1e-4, effort=FIXED, mesh=mesh
    ).cut.values


SPLIT = {"in": PartitionSpec(None, "model"), "out": PartitionSpec("model", None), "bias": PartitionSpec()}
NAMES = ("grid", "model")


def laid(array, mesh, spec):
    """An array over a mesh, of which each process has its part."""
    return jax.make_array_from_callback(array.shape, NamedSharding(mesh, spec), lambda index: array[index])


def network_setting(mesh=None):
    """A loss of a network, of which two devices hold a half each, in the words of the mesh's kind of axes."""
    draw = np.random.default_rng(0)
    shapes = {"in": (4, 8), "out": (8, 3), "bias": (3,)}
    trees = [{name: draw.normal(size=shape).astype(np.float32) / 3 for name, shape in shapes.items()} for _ in range(3)]
    data = [draw.normal(size=(30, 4)).astype(np.float32)]
    kind = None if mesh is None else mesh.axis_types[0]
    if mesh is not None:
        trees = [{name: laid(w, mesh, SPLIT[name]) for name, w in tree.items()} for tree in trees]
    layout = {"out_sharding": PartitionSpec(None, None)} if kind == AxisType.Explicit else {}

    def loss(w, batch):
        hidden = jnp.tanh(batch @ w["in"])
        if kind == AxisType.Auto:
            hidden = jax.lax.with_sharding_constraint(hidden, PartitionSpec(None, "model"))
        return jnp.mean((jnp.dot(hidden, w["out"], **layout) + w["bias"]) ** 2)

    return loss, nv.Plane(trees[0], tuple(trees[1:])), data


def network(mesh=None, *, effort=FIXED, **options):
    """Its slice: of two quantities, with gradients."""
    loss, plane, data = network_setting(mesh)
    norm = {"norm": lambda w, batch: jnp.sum(w["in"] ** 2)}
    made = nv.evaluate(
        loss, plane, X, Y, batches=data, mesh=mesh, effort=effort, gradient=True, metrics=norm, **options
    )
    return [[part[name].tolist() for name in ("loss", "norm")] for part in (made.values, made.gradient)]


def network_within(mesh):
    """The same, where the caller has set the mesh for all that jax does."""
    with jax.set_mesh(mesh):
        return network(mesh)


def networks(folder):
    """Of several processes each holds one of the two models, and then a half of both."""
    devices = np.array(jax.devices()).reshape(2, 2)
    if jax.process_count() == 1:
        kinds = {
            kind.name: Mesh(devices, NAMES, axis_types=(kind, kind)) for kind in (AxisType.Auto, AxisType.Explicit)
        }
        return {name: network_within(mesh) for name, mesh in kinds.items()}
    own = Mesh(devices, NAMES, axis_types=(AxisType.Explicit,) * 2)
    halves = Mesh(devices.T, NAMES, axis_types=(AxisType.Auto,) * 2)
    return {
        "own": network_within(own),
        "halves": network(halves, store=folder / "halves"),
        "estimated": network(halves, effort=nv.Effort()),
    }


def kernels():
    """How many devices run the program of a slice, and the words of it by which they talk."""
    devices, found = np.array(jax.devices()), {}
    meshes = {
        "grid": Mesh(devices, ("grid",)),
        **{
            kind.name: Mesh(devices.reshape(2, 2), NAMES, axis_types=(kind,) * 2)
            for kind in (AxisType.Auto, AxisType.Explicit)
        },
    }
    for name, mesh in meshes.items():
        loss, plane, data = setting() if name == "grid" else network_setting(mesh)
        asked = ask(Question({"loss": loss}, data), plane, mesh)
        task = asked.task._replace(place=asked.places[0])
        text = compiler(task)(data[0], Plan(None, 2, "map", False)).call.as_text()
        talk = re.findall(r"= \S+ ((?:all|collective|reduce-scatter|send|recv)[\w-]*)\(", text)
        found[name] = int(re.search(r"num_partitions=(\d+)", text)[1]), sorted(set(talk))
    return found


LAYOUT = {"rows": PartitionSpec("model"), "columns": PartitionSpec(None, "model"), "bias": PartitionSpec()}


def walk(steps):
    """Snapshots of three leaves, in two directions and some noise."""
    draw, shapes = np.random.default_rng(3), {"rows": (8, 3), "columns": (2, 8), "bias": (3,)}
    along = {name: draw.normal(size=(2, *shape)) for name, shape in shapes.items()}
    noise = {name: draw.normal(size=(9, *shape)) / 50 for name, shape in shapes.items()}
    turns = np.stack([np.cos(np.arange(9) / 3), 2 * np.sin(np.arange(9) / 3)], 1)
    return {k: (np.tensordot(turns, along[k], 1) + noise[k]).astype(np.float32)[list(steps)] for k in shapes}


def split(tree, mesh, *lead):
    return {name: laid(leaf, mesh, PartitionSpec(*lead, *LAYOUT[name])) for name, leaf in tree.items()}


def records(file, mesh, steps, *, commit=True, **options):
    """Rows that are split over all devices, recorded by those that hold them."""
    like = split({name: leaf[0] for name, leaf in walk([0]).items()}, mesh)
    recorder = nv.open_recorder(file, like, loss=0.0, **options)
    nv.append_rows(recorder, steps, split(walk(steps), mesh, None), loss=np.arange(len(steps)) / 2)
    if commit:
        nv.commit_rows(recorder)
    return recorder


def path(folder):
    """A path of several processes, its plane, and what each process wrote and read of it."""
    file, mesh = folder / "path.zarr", Mesh(np.array(jax.devices()), ("model",))
    records(file, mesh, range(4))
    torn = refusal(lambda: nv.commit_rows(unwritable(records(file, mesh, range(4, 6), commit=False, resume=True))))
    seen = len(nv.open_trajectory(file).steps)
    recorder = records(file, mesh, range(4, 9), resume=True)
    nv.finish_recorder(recorder, seconds=1.5)
    read, sizes = parameters.read_window, []

    def counted(leaf, window):
        sizes.append(np.size(found := read(leaf, window)))
        return found

    parameters.read_window = counted
    kept = nv.open_trajectory(file)
    plane = nv.pca_plane(kept, origin=split({name: leaf[0] for name, leaf in walk([8]).items()}, mesh))
    coordinates = nv.project(plane, kept)
    parameters.read_window = read
    wrote = seen_alone(folder / "seen.zarr", plane, mesh)
    return {
        "rows before the commit": seen,
        "torn": torn,
        "wrote": [[column.name, column.window] for column in recorder.columns],
        "read at most": max(sizes),
        "explained": plane.explained,
        "axes": plane.axes[0]["rows"].sharding == NamedSharding(mesh, LAYOUT["rows"]),
        "coordinates": coordinates.coordinates.tolist(),
        "residual": coordinates.residual.tolist(),
        **wrote,
    }


def laid_otherwise(folder):
    """Rows and points whose parts are in other processes than those of the recorder and of the plane."""
    mesh = Mesh(np.array(jax.devices()), ("model",))
    other = Mesh(mesh.devices[::-1], ("model",))
    own = Mesh(np.array(jax.local_devices()), ("model",))
    recorder = records(folder / "otherwise.zarr", mesh, range(2), commit=False)
    rows, (origin, *axes) = (
        split(walk([2]), other, None),
        (split({name: leaf[0] for name, leaf in walk([at]).items()}, mesh) for at in (8, 1, 5)),
    )
    told = {
        "rows": refusal(lambda: nv.append_rows(recorder, [2], rows, loss=[1.0])),
        "points": refusal(lambda: nv.project(nv.Plane(origin, tuple(axes)), rows)),
        "own": refusal(lambda: nv.open_recorder(folder / "own.zarr", origin, more=split(walk([0]), own, None))),
    }
    back = {
        name: jax.device_put(leaf, NamedSharding(mesh, PartitionSpec(None, *LAYOUT[name])))
        for name, leaf in rows.items()
    }
    nv.append_rows(recorder, [2], back, loss=[1.0])
    nv.finish_recorder(recorder)
    return told


def resumed_late(folder):
    """Resumed by a process whose disk does not show yet what another one has written, or that has no parts to write."""
    mesh = Mesh(np.array(jax.devices()), ("model",))
    records(folder / "late.zarr", mesh, range(4))
    read, late = disk.read_head, jax.process_index() == 1
    disk.read_head = (lambda file, kind: read(file.with_name("not yet"), kind)) if late else read
    told = refusal(lambda: records(folder / "late.zarr", mesh, range(4, 6), commit=False, resume=True))
    disk.read_head = read
    opened = disk.open_array
    disk.open_array = (lambda file, name, facts: opened(file.with_name("not yet"), name, facts)) if late else opened
    lost = refusal(lambda: records(folder / "late.zarr", mesh, range(4, 6), commit=False, resume=True))
    disk.open_array = opened
    if not late:
        nv.open_recorder(folder / "whole.zarr", {"rows": np.zeros((8, 3), np.float32)})
    both = Mesh(np.array(jax.devices()).reshape(2, 2), NAMES)  # each process has all parts, and the first writes them
    halves = {"rows": laid(np.zeros((8, 3), np.float32), both, LAYOUT["rows"])}
    edges = refusal(lambda: nv.open_recorder(folder / "whole.zarr", halves, resume=True))
    return {"record": told, "chunks": lost, "edges": edges}


def seen_alone(file, plane, mesh):
    """The same path kept by where it lies in the plane, begun by some and gone on with; what each wrote of its end."""
    for steps in (range(4), range(3, 9)):
        recorder = nv.open_projection(file, plane, resume=True)
        nv.append_rows(recorder, steps, split(walk(steps), mesh, None))
        nv.commit_rows(recorder)
    nv.finish_recorder(recorder)
    origin, *axes = ({name: leaf[0] for name, leaf in walk([at]).items()} for at in (8, 1, 5))
    whole = nv.Plane(origin, tuple(axes))
    own = nv.open_projection(file.with_name(f"own{jax.process_index()}.zarr"), whole)
    refused = refusal(lambda: nv.append_rows(own, [0], split(walk([0]), mesh, None)))
    finals = [[name, array.data.held] for name, array in recorder.final.items() if isinstance(array.data, disk.Parts)]
    parts = [[name, str(at)] for name, held in finals for at, _ in held]
    return {"parts": parts, "whole plane": refused, **kept(file.parent, plane)}


def kept(folder, plane):
    """A split plane written by those that hold it, and what cannot be kept so."""
    nv.save_plane(folder / "plane.zarr", plane)
    snapshots = [plane.origin, plane.axes[0]]
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *snapshots)
    nv.save_trajectory(folder / "stacked.zarr", nv.Trajectory(np.arange(2), stacked), seconds=2.0)
    whole = NamedSharding(plane.origin["rows"].sharding.mesh, PartitionSpec())
    read = nv.load_plane(folder / "plane.zarr")
    as_it_lay = lambda leaf, like: jax.device_put(leaf, like.sharding) if isinstance(like, jax.Array) else leaf  # noqa: E731
    placed = jax.tree.map(as_it_lay, read, plane)
    return {
        "again": bool(np.array_equal(nv.gram(placed), nv.gram(plane))),
        "stacked": nv.project(plane, nv.Trajectory(np.arange(2), stacked)).coordinates.tolist(),
        "snapshots": refusal(lambda: nv.stack_snapshots(snapshots)),
        "to_numpy": refusal(lambda: nv.to_numpy(plane)),
        "cut": refusal(lambda: nv.save_slice(folder / "cut.zarr", nv.Slice(X, Y, plane.origin["rows"]))),
        "gathered": nv.to_numpy(nv.Slice(X, Y, jax.device_put(plane.origin["rows"], whole)))["values"].tolist(),
        "in place of": refusal(lambda: nv.save_plane(folder, plane)),
    }


def in_memory():
    """The coordinates of a split path that was never on disk, by its end and mean; of one whose points are split."""
    mesh = Mesh(np.array(jax.devices()), ("model",))
    kept = nv.Trajectory(np.arange(9), split(walk(range(9)), mesh, None))
    planes = [nv.pca_plane(kept, centred=centred) for centred in (False, True)]
    spread = {name: laid(leaf, mesh, PartitionSpec("model")) for name, leaf in walk(range(8)).items()}
    seen = [nv.project(plane, kept) for plane in planes] + [nv.project(planes[0], spread)]
    return [each.coordinates.tolist() for each in seen]


def unwritable(recorder):
    """The same, but that a write of one process has failed."""
    write = Future()
    write.set_exception(OSError("no space left"))
    recorder.flying.extend([(write, 1)] if jax.process_index() == 1 else [])
    return recorder


def paths_refused(folder):
    """What is begun on two devices goes on on one, and not on four."""
    devices = np.array(jax.devices())
    records(folder / "two.zarr", Mesh(devices[:2], ("model",)), range(4))
    refused = refusal(lambda: records(folder / "two.zarr", Mesh(devices, ("model",)), range(4, 6), resume=True))
    nv.finish_recorder(records(folder / "two.zarr", Mesh(devices[:1], ("model",)), range(4, 9), resume=True))
    return refused


def dies(folder, mesh):
    """One of two is killed in its second round of tiles; the other one is told."""

    def report(done, total):
        if jax.process_index() == 1 and any(path.is_file() for path in (folder / "store" / "c").rglob("*")):
            os.kill(os.getpid(), signal.SIGKILL)

    try:
        cut(mesh, effort=TILES, store=folder / "store", report=report)
    except ConnectionError as error:
        print(json.dumps(str(error)), flush=True)
        os._exit(3)  # or jax would wait for the dead one


def evaluates(folder, mesh):
    """All that is to be the same on any devices, and what is refused."""
    rows, alone = [], jax.process_count() == 1
    explicit = jax.make_mesh(mesh.devices.shape, mesh.axis_names, axis_types=(AxisType.Explicit,))
    made = cut(explicit, gradient=True, report=lambda done, total: rows.append(done))
    found = {"Explicit": plain(made), "rows": rows, "Auto": plain(cut(mesh, gradient=True))}
    found |= {"networks": networks(folder), "recomputed": recomputed(mesh).tolist(), "refined": refined(mesh).tolist()}
    found |= {"laid out": [*laid_out(mesh), *laid_out(explicit)]}
    found |= by_itself(folder) if alone else {"together": together(folder, mesh)}
    print(json.dumps(found), flush=True)


def by_itself(folder):
    """What one process with four devices can show."""
    refused = {**unfit(), "path": paths_refused(folder)}
    return {"kernels": kernels(), "in memory": in_memory(), "refused": refused}


def unlike_loss(mesh, work):
    """Of one shape in all processes, and of another slope."""
    slope = 1.0 + jax.process_index()
    work(lambda w: slope * jnp.sum(w**2), setting()[1], X, np.linspace(-2, 2, 5), effort=FIXED, mesh=mesh)


def together(folder, mesh):
    """What only several processes can do."""
    model = Mesh(np.array(jax.devices()), ("model",))
    rows, store = [], folder / "store"
    resumed = cut(mesh, effort=TILES, store=store, report=lambda done, total: rows.append(done))
    return {
        "rows": rows,
        "values": resumed.values.tolist(),
        "three devices": cut(Mesh(np.array(jax.devices()[:3]), ("grid",))).values.tolist(),
        "path": path(folder),
        "otherwise": laid_otherwise(folder),
        "late": resumed_late(folder),
        "gram": nv.gram(network_setting(Mesh(np.array(jax.devices()).reshape(2, 2), NAMES))[1]).tolist(),
        "another": refusal(partial(cut, mesh, effort=TILES, store=store, seed=1)),
        "unlike": [
            refusal(partial(cut, mesh, effort=TILES, store=each, seed=jax.process_index()))
            for each in (folder / "none", None)
        ],
        "unlike loss": [refusal(partial(unlike_loss, mesh, work)) for work in (nv.evaluate, nv.refine)],
        "own folder": refusal(partial(records, folder / f"own{jax.process_index()}", model, range(4))),
    }


def plain(made):
    return made.values.tolist(), made.gradient.tolist()


def unfit():
    """How meshes are refused that do not go with the parameters."""
    devices = np.array(jax.devices())
    auto = partial(Mesh, axis_types=(AxisType.Auto,) * 2)
    loss, plane, data = network_setting(auto(devices.reshape(2, 2), NAMES))
    ask_on = lambda mesh: refusal(lambda: nv.evaluate(loss, plane, X, Y, batches=data, mesh=mesh))  # noqa: E731
    odd = auto(devices[:3].reshape(1, 3), NAMES)
    other = auto(devices.reshape(2, 2), ("grid", "tensor"))
    explicit = Mesh(devices.reshape(2, 2), NAMES, axis_types=(AxisType.Explicit,) * 2)
    on_explicit, at, _ = network_setting(explicit)
    spectrum = refusal(lambda: nv.hessian_plane(on_explicit, at.origin, batches=data))
    return {"name": ask_on(other), "uneven": ask_on(odd), "none": ask_on(None), "spectrum": spectrum}


def refusal(work):
    try:
        work()
    except (OSError, ValueError) as error:
        return str(error)


if __name__ == "__main__":
    what, folder, address, processes, number = sys.argv[1:]
    if int(processes) > 1:
        jax.distributed.initialize(address, int(processes), int(number))
    grid = jax.make_mesh((jax.device_count(),), ("grid",), axis_types=(AxisType.Auto,))
    {"dies": dies, "evaluates": evaluates}[what](Path(folder), grid)
