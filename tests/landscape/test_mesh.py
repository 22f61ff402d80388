"""A slice is the same on one device, on several, and over several processes."""

import json
import os
import socket
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import nagviz as nv

X, Y = np.linspace(-1, 1, 5), np.linspace(-2, 2, 3)  # 15 points: no number of devices divides them


def cut(mesh=None, report=lambda done, total: None):
    draw = np.random.default_rng(0)
    first, second = (jnp.asarray(draw.normal(size=8), jnp.float32) for _ in range(2))
    data = [draw.normal(size=(n, 8)).astype(np.float32) for n in (40, 9)]
    plane = nv.Plane(jnp.zeros(8), (first, second))

    def loss(w, batch):
        return jnp.mean(jnp.tanh(batch @ w[:, None]) ** 2) + jnp.where(w[0] > 1.4, jnp.nan, 0.0)

    return nv.evaluate(
        loss, plane, X, Y, batches=data, gradient=True, effort=nv.Effort(points=2), mesh=mesh, report=report
    )


def in_a_process(address, processes, number):
    if processes > 1:
        jax.distributed.initialize(address, processes, number)
    found = {}
    for kind in jax.sharding.AxisType.Auto, jax.sharding.AxisType.Explicit:
        rows = []
        mesh = jax.make_mesh((jax.device_count(),), ("grid",), axis_types=(kind,))
        made = cut(mesh, report=lambda done, total, rows=rows: rows.append(done))
        assert rows == [0, 1, 2, 3]
        found[kind.name] = made.values.tolist(), made.gradient.tolist()
    print("found", json.dumps(found), flush=True)


def start(processes, number, address, devices):
    flags = {"XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}", "JAX_PLATFORMS": "cpu"}
    code = f"import runpy; runpy.run_path({__file__!r})['in_a_process']({address!r}, {processes}, {number})"
    return subprocess.Popen(
        [sys.executable, "-c", code],
        env={**os.environ, **flags},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize(("processes", "devices"), [(1, 2), (2, 2)])
def test_devices_and_processes_give_the_slice_of_one_device(processes, devices):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    started = [start(processes, number, address, devices) for number in range(processes)]
    try:
        told = [process.communicate(timeout=120) for process in started]
    finally:
        for process in started:
            process.kill()
    alone = cut()
    for output, errors in told:
        assert "found " in output, errors
        for values, gradient in json.loads(output.partition("found ")[2]).values():
            np.testing.assert_allclose(values, alone.values, rtol=1e-6)
            np.testing.assert_allclose(gradient, alone.gradient, rtol=1e-5, atol=1e-6)


def test_a_mesh_that_does_not_fit_is_refused():
    mesh = jax.make_mesh((1, 1), ("grid", "model"), axis_types=(jax.sharding.AxisType.Auto,) * 2)
    with pytest.raises(ValueError, match=r"one axis.*'model'"):
        cut(mesh)
    with pytest.raises(ValueError, match=r"jax\.make_mesh.*got int"):
        cut(4)
