"""What each process of tests/landscape/test_mesh.py does; the tests call the same functions on one device."""

import json
import os
import signal
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

import nagviz as nv

X, Y = np.linspace(-1, 1, 5), np.linspace(-2, 2, 3)  # 15 points: no number of devices divides them
TILES = nv.Effort(points=2, tile=2)  # nine of them


def cut(mesh=None, *, seed=0, effort=nv.Effort(points=2), **options):  # noqa: B008
    draw = np.random.default_rng(seed)
    first, second = (jnp.asarray(draw.normal(size=8), jnp.float32) for _ in range(2))
    data = [draw.normal(size=(n, 8)).astype(np.float32) for n in (40, 9)]
    plane = nv.Plane(jnp.zeros(8), (first, second))

    def loss(w, batch):
        return jnp.mean(jnp.tanh(batch @ w[:, None]) ** 2) + jnp.where(w[0] > 1.4, jnp.nan, 0.0)

    return nv.evaluate(loss, plane, X, Y, batches=data, effort=effort, mesh=mesh, **options)


def dies(folder, mesh):
    """One of two is killed in its second round of tiles; the other one is told."""

    def report(done, total):
        if done and jax.process_index() == 1:
            os.kill(os.getpid(), signal.SIGKILL)

    try:
        cut(mesh, effort=TILES, store=folder / "store", report=report)
    except ConnectionError as error:
        print(json.dumps(str(error)), flush=True)
        os._exit(3)  # or jax would wait for the dead one


def evaluates(folder, mesh):
    """All that is to be the same on any devices, and what is refused."""
    found = {"Auto": plain(cut(mesh, gradient=True))}
    if jax.process_count() > 1:
        rows, store = [], folder / "store"
        resumed = cut(mesh, effort=TILES, store=store, report=lambda done, total: rows.append(done))
        found["resumed"] = rows, resumed.values.tolist()
        found["another"] = refusal(mesh, effort=TILES, store=store, seed=1)
        found["unlike"] = refusal(mesh, effort=TILES, store=folder / "none", seed=jax.process_index())
    explicit = jax.make_mesh(mesh.devices.shape, mesh.axis_names, axis_types=(jax.sharding.AxisType.Explicit,))
    rows = []
    found["Explicit"] = plain(cut(explicit, gradient=True, report=lambda done, total: rows.append(done)))
    found["rows"] = rows
    print(json.dumps(found), flush=True)


def plain(made):
    return made.values.tolist(), made.gradient.tolist()


def refusal(mesh, **options):
    try:
        cut(mesh, **options)
    except ValueError as error:
        return str(error)


if __name__ == "__main__":
    what, folder, address, processes, number = sys.argv[1:]
    if int(processes) > 1:
        jax.distributed.initialize(address, int(processes), int(number))
    grid = jax.make_mesh((jax.device_count(),), ("grid",), axis_types=(jax.sharding.AxisType.Auto,))
    {"dies": dies, "evaluates": evaluates}[what](Path(folder), grid)
