"""An evaluation that was killed carries on and gives the same array; tiles of another slice are refused."""

import json
import os
import signal
import subprocess
import sys
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import zarr

import nagviz as nv
from nagviz.landscape import tiles

SCRIPT = """
import sys, time, jax, jax.numpy as jnp, numpy as np, nagviz as nv
def loss(w, batch):
    return jnp.mean(jnp.tanh(batch @ w[:, None]) ** 2) + jnp.where(w[0] > 1.4, jnp.nan, 0.0)
draw = np.random.default_rng(0)
plane = nv.Plane(jnp.zeros(8), tuple(jnp.asarray(draw.normal(size=8), jnp.float32) for _ in range(2)))
data = [draw.normal(size=(n, 8)).astype(np.float32) for n in (40, 40, 9)]
x, y = np.linspace(-1, 1, 7), np.linspace(-2, 2, 11)
def run(store, pause=0.0, **options):
    return nv.evaluate(loss, plane, x, y, batches=data, store=store, report=lambda *_: time.sleep(pause), **options)
"""
HERE = {}
exec(SCRIPT, HERE)  # the same lines here and in the process that is killed
run, x, y = HERE["run"], HERE["x"], HERE["y"]
TILE = nv.Effort(tile=14, points=3)


def files(store):
    """The tiles that are done; a name with underscores is one that is being written."""
    return {path: path.stat().st_mtime_ns for path in store.glob("c/*/*/*/*") if "__" not in path.name}


@pytest.fixture(scope="module")
def whole():
    return run(None, effort=TILE)


def test_a_killed_evaluation_resumes_and_gives_the_same_array(tmp_path, whole):
    store = tmp_path / "slice.zarr"
    script = f"{SCRIPT}\nfrom pathlib import Path\nrun(Path({str(store)!r}), 0.3, effort=nv.Effort(tile=14, points=3))"
    process = subprocess.Popen([sys.executable, "-c", script], env={**os.environ, "JAX_PLATFORMS": "cpu"})
    try:
        while process.poll() is None and len(files(store)) < 2:
            time.sleep(0.01)
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    before = files(store)
    assert 2 <= len(before) < 6
    cut = run(store)  # in the way that it had begun, whatever would be chosen now
    assert cut.work.plan == whole.work.plan
    assert cut.work.tile == (2, 7)
    np.testing.assert_array_equal(cut.values, whole.values)
    assert np.isnan(cut.values).any()
    after = files(store)
    assert {path: after[path] for path in before} == before  # none was done anew


def test_a_finished_store_is_read_and_nothing_is_evaluated(tmp_path, whole):
    run(tmp_path / "s", effort=TILE)
    before = files(tmp_path / "s")
    seen = []
    again = nv.evaluate(
        HERE["loss"],
        HERE["plane"],
        x,
        y,
        batches=HERE["data"],
        store=tmp_path / "s",
        report=lambda done, total: seen.append((done, total)),
    )
    np.testing.assert_array_equal(again.values, whole.values)
    assert files(tmp_path / "s") == before
    assert seen == [(11, 11)]


def test_what_a_resumed_evaluation_finds_is_told_first_and_at_once(tmp_path):
    """So that the time from the first call on was spent on what has come since."""
    run(tmp_path / "s", effort=TILE)
    for kept in sorted(files(tmp_path / "s"))[2:4]:  # of six tiles of two rows, the last of one
        kept.unlink()
    seen, options = [], {"batches": HERE["data"], "store": tmp_path / "s"}
    nv.evaluate(HERE["loss"], HERE["plane"], x, y, **options, report=lambda *rows: seen.append(rows))
    assert seen == [(7, 11), (8, 11), (9, 11), (10, 11), (11, 11)]


def test_several_quantities_and_gradients_are_kept_in_tiles_too(tmp_path):
    options = {"gradient": True, "metrics": {"first": lambda w, batch: w[0]}, "effort": TILE}
    first, again = (run(tmp_path / "s", **options) for _ in range(2))
    for name in ("loss", "first"):
        np.testing.assert_array_equal(first.values[name], again.values[name])
        np.testing.assert_array_equal(first.gradient[name], again.gradient[name])
    np.testing.assert_allclose(first.gradient["first"][0, 0], [axis[0] for axis in HERE["plane"].axes], rtol=1e-6)


def test_a_tile_is_chosen_by_time_where_none_is_given(tmp_path):
    cut = run(tmp_path / "s")
    assert cut.work.tile == (11, 7)  # all of it takes less than some seconds


CHANGES = {
    "origin": {"plane": nv.Plane(jnp.ones(8), HERE["plane"].axes)},
    "axes": {"plane": nv.Plane(jnp.zeros(8), HERE["plane"].axes[::-1])},
    "grid": {"x": x + 1e-9},
    "data": {"batches": [HERE["data"][0] + 1e-6, *HERE["data"][1:]]},
    "loss": {"loss": lambda w, batch: 2 * HERE["loss"](w, batch)},
}


@pytest.mark.parametrize("name", CHANGES)
def test_tiles_of_another_slice_are_refused_by_what_differs(name, tmp_path_factory):
    store = tmp_path_factory.getbasetemp() / "kept"
    if not store.exists():
        run(store, effort=TILE)
    inputs = {"loss": HERE["loss"], "plane": HERE["plane"], "x": x, "batches": HERE["data"], **CHANGES[name]}
    loss, plane, columns = (inputs.pop(key) for key in ("loss", "plane", "x"))
    with pytest.raises(
        ValueError, match=rf"holds tiles of another slice, with another {name} \(\w{{8}} there, \w{{8}} here\);"
    ):
        nv.evaluate(loss, plane, columns, y, **inputs, store=store)


WRAPS = {"plain": lambda f: f, "jit": jax.jit, "remat": jax.checkpoint, "jit twice": lambda f: jax.jit(jax.jit(f))}


@pytest.mark.parametrize("wrap", WRAPS)
@pytest.mark.parametrize("kind", [np.asarray, jnp.asarray])
def test_an_array_that_the_loss_closes_over_is_part_of_it(wrap, kind, tmp_path):
    line = nv.Plane(jnp.zeros(2), (jnp.ones(2),))

    def loss(scale):
        return WRAPS[wrap](lambda w: (w * kind(scale)).sum())

    one, other = np.ones(2, np.float32), np.full(2, 3.0, np.float32)
    nv.evaluate(loss(one), line, [0.0, 1.0], store=tmp_path / "s")
    nv.evaluate(loss(one), line, [0.0, 1.0], store=tmp_path / "s")
    with pytest.raises(ValueError, match="another loss"):
        nv.evaluate(loss(other), line, [0.0, 1.0], store=tmp_path / "s")


def test_a_loss_that_calls_python_back_has_no_store(tmp_path):
    def loss(w):
        return jax.pure_callback(lambda v: np.sum(v), jax.ShapeDtypeStruct((), jnp.float32), w)

    with pytest.raises(ValueError, match="calls back into Python"):
        nv.evaluate(loss, nv.Plane(jnp.zeros(2), (jnp.ones(2),)), [0.0, 1.0], store=tmp_path / "s")
    assert not (tmp_path / "s").exists()


def test_damage_is_found_before_anything_is_evaluated(tmp_path):
    store = tmp_path / "s"
    run(store, effort=TILE)
    kept = sorted(files(store))
    data = bytearray(kept[-1].read_bytes())
    data[5] ^= 1
    kept[-1].write_bytes(bytes(data))
    kept[0].unlink()
    with pytest.raises(ValueError, match=r"tile \(5, 0\) is damaged .* remove its file"):
        run(store, pause=float("nan"))  # sleeping so long is an error of its own
    (store / "zarr.json").write_text(json.dumps({"shape": [1]}))
    with pytest.raises(ValueError, match="holds no tiles of a slice"):
        run(store)


def test_a_tile_of_another_slice_or_place_is_not_taken_for_this_one(tmp_path):
    """A whole file of the same shape, with a checksum that is right."""
    made = {name: tiles.make_tiles(tmp_path / name, (4, 3, 2, 1), (2, 3, 2, 1), {"origin": name}, {}) for name in "ab"}
    for store in made.values():
        for number in ((0, 0), (1, 0)):
            tiles.write_tile(store, number, np.full((2, 3, 2, 1), 7.0))
    first, second = (sorted(files(tmp_path / name)) for name in "ab")
    second[0].write_bytes(first[0].read_bytes())
    with pytest.raises(ValueError, match=r"tile \(0, 0\) is that of another slice or of another place; remove"):
        tiles.read_tile(made["b"], (0, 0))
    first[1].write_bytes(first[0].read_bytes())
    with pytest.raises(ValueError, match=r"tile \(1, 0\) is that of another"):
        tiles.read_tile(made["a"], (1, 0))
    again = tiles.find_tiles(tmp_path / "a", {"origin": "a"})
    np.testing.assert_array_equal(tiles.read_tile(again, (0, 0)), np.full((2, 3, 2, 1), 7.0))


def test_other_programs_read_the_tiles(tmp_path, whole):
    """The values come first along the last dimension; behind them is each tile's mark."""
    run(tmp_path / "s", effort=TILE)
    array = zarr.open_array(tmp_path / "s", mode="r")
    assert array.metadata.dimension_names == ("y", "x", "quantity", "part")
    np.testing.assert_array_equal(array[:, :, 0, 0], whole.values)
    assert len(np.unique(array[..., -1])) == 6


def test_a_store_without_marks_is_refused(tmp_path):
    run(tmp_path / "s", effort=TILE)
    head = json.loads((tmp_path / "s" / "zarr.json").read_text())
    del head["attributes"]["format"]  # as they were
    (tmp_path / "s" / "zarr.json").write_text(json.dumps(head))
    with pytest.raises(ValueError, match=r"written by another nagviz \(format 1, known 2\)"):
        run(tmp_path / "s")


def test_a_tile_of_nothing_but_nan_is_done_like_any_other(tmp_path):
    made = tiles.make_tiles(tmp_path / "s", (4, 3, 1, 1), (2, 3, 1, 1), {"a": "b"}, {})
    for number, value in (((0, 0), np.nan), ((1, 0), 0.0)):
        assert not tiles.is_done(made, number)
        tiles.write_tile(made, number, np.full((2, 3, 1, 1), value))
        assert tiles.is_done(made, number)
        np.testing.assert_array_equal(tiles.read_tile(made, number), np.full((2, 3, 1, 1), value))


def test_keys_for_randomness_may_be_among_the_data(tmp_path):
    line = nv.Plane(jnp.zeros(2), (jnp.ones(2),))
    batch = {"x": jnp.ones((4, 2)), "key": jax.random.key(0)}

    def noisy(w, batch):
        return jnp.mean((batch["x"] + jax.random.normal(batch["key"], (4, 2))) @ w)

    cuts = [nv.evaluate(noisy, line, [0.0, 1.0], batches=[batch], store=store) for store in (None, tmp_path / "s")]
    np.testing.assert_array_equal(cuts[0].values, cuts[1].values)


def test_a_budget_under_what_a_store_was_begun_with_is_refused(tmp_path):
    run(tmp_path / "s", effort=TILE)
    with pytest.raises(ValueError, match=r"effort\.budget is 1 bytes, but store .* was begun in a way that takes"):
        run(tmp_path / "s", effort=nv.Effort(budget=1))
    with pytest.raises(ValueError, match=r"effort\.way must be"):
        run(tmp_path / "s", effort=nv.Effort(way="x"))


def test_a_tile_that_was_evaluated_in_another_way_is_not_taken(tmp_path):
    for name, points in (("a", 3), ("b", 7)):
        run(tmp_path / name, effort=nv.Effort(tile=14, points=points))
    (tile, *_) = sorted(path for path in (tmp_path / "a" / "c").rglob("*") if path.is_file())
    (tmp_path / "b" / tile.relative_to(tmp_path / "a")).write_bytes(tile.read_bytes())
    with pytest.raises(ValueError, match="is that of another slice or of another place"):
        run(tmp_path / "b", effort=nv.Effort(tile=14, points=7))
