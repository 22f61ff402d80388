"""A slice is the same on one device, on several, and over several processes, of which one may be killed."""

import json
import os
import runpy
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
import zarr
from jax.sharding import AxisType, Mesh

import nagviz as nv
from nagviz.landscape.slicing import _by_tiles
from nagviz.landscape.tiles import windows

SCRIPT = Path(__file__).with_name("one_process.py")
HERE = runpy.run_path(SCRIPT)
cut, TILES = HERE["cut"], HERE["TILES"]


def start(what, folder, processes, devices):
    """The processes, as they run."""
    flags = {"XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}", "JAX_PLATFORMS": "cpu"}
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    return [
        subprocess.Popen(
            [sys.executable, SCRIPT, what, folder, address, str(processes), str(number)],
            env={**os.environ, **flags},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in range(processes)
    ]


def ended(started, expected=0):
    """What each has printed, as JSON after what jax prints."""
    try:
        told = [process.communicate(timeout=120) for process in started]
    finally:
        for process in started:
            process.kill()
    lines = [(output.splitlines() or ["null"])[-1] for output, _ in told]
    assert started[0].returncode == expected, told
    return [json.loads(line) if process.returncode >= 0 else None for process, line in zip(started, lines, strict=True)]


def tiles_of(store):
    return {path: path.stat().st_mtime_ns for path in store.glob("c/*/*/*/*") if "__" not in path.name}


@pytest.fixture(scope="module")
def seen(tmp_path_factory):
    """Two processes of which one is killed, beside one of four devices; then two that go on."""
    folder = tmp_path_factory.mktemp("shared")
    killed, alone = start("dies", folder, 2, 2), start("evaluates", folder, 1, 4)
    single, told = ended(alone), ended(killed, expected=3)
    assert killed[1].returncode == -signal.SIGKILL
    kept = tiles_of(folder / "store")
    shutil.copytree(folder / "store", folder / "copy")
    both = ended(start("evaluates", folder, 2, 2))
    after = tiles_of(folder / "store")
    return {"folder": folder, "told": told[0], "kept": kept, "after": after, "runs": [*single, *both], "both": both}


def test_devices_and_processes_give_the_slice_of_one_device(seen):
    alone = cut(gradient=True)
    assert np.isnan(alone.values).any()
    for run in seen["runs"]:
        assert run["rows"] == [0, 1, 2, 3]
        for kind in ("Auto", "Explicit"):
            values, gradient = run[kind]
            np.testing.assert_allclose(values, alone.values, rtol=1e-6)
            np.testing.assert_allclose(gradient, alone.gradient, rtol=1e-5, atol=1e-6)


def test_it_does_not_matter_where_parameters_and_data_lie_and_which_mesh_is_set(seen):
    """As data-parallel training leaves them."""
    alone = cut()
    for run in seen["runs"]:
        assert len(run["laid out"]) == 4
        for values in run["laid out"]:
            np.testing.assert_allclose(values, alone.values, rtol=1e-6)


def test_statistics_and_refinement_are_spread_too(seen):
    for run in seen["runs"]:
        np.testing.assert_allclose(run["recomputed"], HERE["recomputed"](), rtol=1e-6)
        np.testing.assert_allclose(run["refined"], HERE["refined"](), rtol=1e-6)


def test_a_model_that_is_split_over_devices_or_processes_gives_the_slice_of_one_device(seen):
    values, gradient = HERE["network"]()
    for run in seen["runs"]:
        assert len(run["networks"]) >= 2
        for name, made in run["networks"].items():
            np.testing.assert_allclose(made[0], values, rtol=1e-6, err_msg=name)
            np.testing.assert_allclose(made[1], gradient, rtol=1e-5, atol=1e-6, err_msg=name)


def test_what_a_split_model_has_finished_is_gone_on_from_on_fewer_devices(seen):
    one = Mesh(np.array(jax.devices()[:1]).reshape(1, 1), ("grid", "model"), axis_types=(AxisType.Auto,) * 2)
    before = tiles_of(seen["folder"] / "halves")
    values, _ = HERE["network"](one, store=seen["folder"] / "halves")
    np.testing.assert_array_equal(values, seen["both"][0]["networks"]["halves"][0])
    assert tiles_of(seen["folder"] / "halves") == before


def test_the_programs_of_a_slice_talk_along_the_axes_of_the_model_alone(seen):
    """That of a mesh of points is for all four devices, which never talk; that of a model for the two that hold it."""
    kernels = seen["runs"][0]["kernels"]
    assert kernels == {"grid": [4, []], "Auto": [2, ["all-reduce"]], "Explicit": [2, ["all-reduce"]]}


def test_a_mesh_that_does_not_go_with_the_parameters_is_refused_by_name(seen):
    refused = seen["runs"][0]["refused"]
    assert (
        "plane.origin['in'] is split over an axis 'model', which mesh with axes ('grid', 'tensor')" in refused["name"]
    )
    assert "plane.origin['in'] of shape (4, 8) cannot be split evenly over 3 devices" in refused["uneven"]
    assert "mesh must be given: plane['axes'][0]['in'] is split over 4 devices" in refused["none"]
    assert "params['in'] must be whole on one device, since a search lays all parameters" in refused["spectrum"]


def test_a_path_of_split_parameters_is_written_by_those_that_hold_them_and_read_by_anybody(seen):
    file, steps = seen["folder"] / "path.zarr", range(9)
    path, facts = nv.load_trajectory(file)
    assert facts == {"seconds": 1.5}
    np.testing.assert_array_equal(path.steps, steps)
    for name, leaf in HERE["walk"](steps).items():
        np.testing.assert_array_equal(path.params[name], leaf)
    assert list(nv.load_trajectory(file, point="loss")[0].params) == [0, 0.5, 1, 1.5, 0, 0.5, 1, 1.5, 2]
    told = [run["together"]["path"] for run in seen["both"]]
    assert [part["rows before the commit"] for part in told] == [4, 4]
    assert "process 1 could not write its part" in told[0]["torn"]
    wrote = [{json.dumps(part) for part in one["wrote"]} for one in told]
    assert not wrote[0] & wrote[1]
    assert [len(parts) for parts in wrote] == [4 + 3, 4]  # halves of two leaves each; the first has the rest
    chunks = zarr.open_array(file / "params.rows", mode="r").chunks, zarr.open_array(file / "params.columns").chunks
    assert [chunk[1:] for chunk in chunks] == [(2, 3), (2, 2)]


def test_rows_and_points_that_are_laid_out_otherwise_are_refused_by_all_processes_alike(seen):
    told = [run["together"]["otherwise"] for run in seen["both"]]
    assert told[0] == told[1]
    assert "params['columns'] must be laid out over processes as the recorder was opened with" in told[0]["rows"]
    assert "an array of shape (1, 2, 8) must be laid out over processes as the array that" in told[0]["points"]
    assert all("spec=" in told[0][what] and "by jax.device_put" in told[0][what] for what in ("rows", "points"))
    assert "is split over devices of one process" in told[0]["own"]
    assert not (seen["folder"] / "own.zarr").exists()
    path, _ = nv.load_trajectory(seen["folder"] / "otherwise.zarr")  # as the words say
    for name, leaf in HERE["walk"](range(3)).items():
        np.testing.assert_array_equal(path.params[name], leaf)


def test_a_process_whose_disk_lags_goes_on_with_the_others_or_all_stop(seen):
    told = [run["together"]["late"] for run in seen["both"]]
    assert [part["record"] for part in told] == [None, None]
    assert "process 1 could not read its part" in told[0]["chunks"]
    assert "missing or damaged" in told[1]["chunks"]
    assert all("was begun in parts of [8, 3], of which [[0, 4], [0, 3]] is no" in part["edges"] for part in told)


def test_the_plane_of_a_split_path_is_found_without_gathering_it(seen):
    path = nv.Trajectory(np.arange(9), HERE["walk"](range(9)))
    plane = nv.pca_plane(path)
    expected = nv.project(plane, path)
    centred = nv.project(nv.pca_plane(path, centred=True), path)
    alone = [expected.coordinates, centred.coordinates, expected.coordinates[:8]]
    for found, coordinates in zip(seen["runs"][0]["in memory"], alone, strict=True):
        np.testing.assert_allclose(found, coordinates, rtol=1e-5, atol=1e-6)
    products = nv.gram(HERE["network_setting"]()[1])
    for run in seen["both"]:  # each of them holds all parts of that plane, which count once
        np.testing.assert_allclose(run["together"]["gram"], products, rtol=1e-6)
    for told in (run["together"]["path"] for run in seen["both"]):
        assert told["axes"]  # are split as the origin is
        assert told["read at most"] == 9 * 6  # rows of one part
        np.testing.assert_allclose(told["explained"], plane.explained, rtol=1e-6)
        np.testing.assert_allclose(told["coordinates"], expected.coordinates, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(told["residual"], expected.residual, rtol=1e-4, atol=1e-6)


def test_a_path_that_is_split_may_be_kept_as_seen_in_a_plane_alone(seen):
    kept = nv.load_projection(seen["folder"] / "seen.zarr")
    told = [run["together"]["path"] for run in seen["both"]]
    np.testing.assert_array_equal(kept.points["params"].steps, range(9))
    np.testing.assert_allclose(kept.points["params"].coordinates, told[0]["coordinates"], rtol=1e-12)
    np.testing.assert_allclose(kept.points["params"].residual, told[0]["residual"], rtol=1e-12)
    for name, leaf in HERE["walk"]([8]).items():
        np.testing.assert_array_equal(kept.last[name], leaf[0])
    parts = [{json.dumps(part) for part in one["parts"]} for one in told]
    assert not parts[0] & parts[1]
    assert [len(each) for each in parts] == [2 + 2, 2 + 2]  # halves of a half of two leaves
    for one in told:
        assert "plane must be split over processes as the points are" in one["whole plane"]


def test_a_plane_that_is_split_is_written_by_those_that_hold_it_and_what_cannot_be_is_refused(seen):
    told = [run["together"]["path"] for run in seen["both"]]
    plane, (path, facts) = (
        nv.load_plane(seen["folder"] / "plane.zarr"),
        nv.load_trajectory(seen["folder"] / "stacked.zarr"),
    )
    for name, leaf in HERE["walk"]([8]).items():
        np.testing.assert_array_equal(plane.origin[name], leaf[0])
        np.testing.assert_array_equal(path.params[name], [leaf[0], plane.axes[0][name]])
    assert facts == {"seconds": 2.0}
    assert plane.explained == tuple(told[0]["explained"])
    for one in told:
        assert one["again"]  # laid out as it was
        np.testing.assert_allclose(one["stacked"][1], nv.project(plane, plane.axes[0]).coordinates, rtol=1e-5)
        assert "snapshots[0]['columns'] is split over processes" in one["snapshots"]
        assert "nv.Trajectory(steps, jax.tree.map(" in one["snapshots"]
        assert "record.origin['columns'] is split over processes" in one["to_numpy"]
        assert "cut.values is split over processes" in one["cut"]
        np.testing.assert_array_equal(np.float32(one["gathered"]), plane.origin["rows"])  # as the words say
        assert "was not written by nagviz" in one["in place of"]
    assert not list(seen["folder"].glob(".*.partial"))


def test_a_path_goes_on_on_fewer_devices_and_not_where_two_would_write_one_chunk(seen):
    assert (
        "was begun in parts of [2, 4], of which [[0, 2], [0, 2]] is no whole number"
        in seen["runs"][0]["refused"]["path"]
    )
    path, facts = nv.load_trajectory(seen["folder"] / "two.zarr")
    assert facts == {}
    np.testing.assert_array_equal(path.params["columns"], HERE["walk"](range(9))["columns"])


def test_what_a_killed_process_had_finished_is_gone_on_from(seen):
    """By two processes, and by one of one device; the one that was left was told what to do."""
    assert "start them again" in seen["told"]
    assert 4 <= len(seen["kept"]) < len(seen["after"]) == 9
    assert {path: seen["after"][path] for path in seen["kept"]} == seen["kept"]  # none was done anew
    alone = cut(effort=TILES, store=seen["folder"] / "copy")
    for run in seen["both"]:
        rows = run["together"]["rows"]
        assert 0 < rows[0] <= rows[-1] == 3
        np.testing.assert_allclose(run["together"]["values"], alone.values, rtol=1e-6)
        np.testing.assert_allclose(run["together"]["three devices"], alone.values, rtol=1e-6)  # two of one process
    np.testing.assert_array_equal(cut(effort=TILES).values, alone.values)


def test_processes_refuse_the_tiles_of_another_slice_and_unlike_inputs_together(seen):
    for run in seen["both"]:
        assert "holds tiles of another slice, with another axes (" in run["together"]["another"]
        assert "there, " in run["together"]["another"]
        for refused in run["together"]["unlike"]:
            assert "must be given the same inputs, but axes, data differ" in refused
        for refused in run["together"]["unlike loss"]:
            assert "must be given the same inputs, but loss differ" in refused
    assert "was made by process 0, and this one does not see it" in seen["both"][1]["together"]["own folder"]
    assert "process 1 could not find its part" in seen["both"][0]["together"]["own folder"]
    assert not (seen["folder"] / "none").exists()


def test_every_device_has_as_many_points_as_any_other():
    """To one, whatever the tiles are: a round holds a tile for each device, and its points are shared evenly."""
    rounds, rows = [], np.zeros((3, 5, 2))
    tabulate = lambda points: (rounds.append(len(points)), np.zeros((len(points), 1, 1)))[1]  # noqa: E731
    made = _by_tiles(tabulate, rows, (1, 2), {(0, 0)}, 4, lambda blocks: None)
    assert rounds == [7, 6]  # tiles of 2, 1, 2, 2 and of 1, 2, 2, 1 points, less the one that was done
    assert set(made) == set(windows(rows.shape, (1, 2))) - {(0, 0)}


def test_a_mesh_that_does_not_fit_is_refused():
    mesh = jax.make_mesh((1, 1), ("data", "model"), axis_types=(AxisType.Auto,) * 2)
    with pytest.raises(
        ValueError, match=r"name that over which points are spread 'grid', got axes \('data', 'model'\)"
    ):
        cut(mesh)
    with pytest.raises(ValueError, match=r"jax\.make_mesh.*got int"):
        cut(4)
    with pytest.raises(ValueError, match=r"mesh must have one axis, or several, auto or explicit, got {} of \(\)"):
        cut(Mesh(np.array(jax.devices()[0]), ()))
