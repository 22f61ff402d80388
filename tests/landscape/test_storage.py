"""What is kept comes back as it was, opens elsewhere, and is whole or not there."""

import base64
import json
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tensorstore
import xarray
import zarr

import nagviz as nv

X, Y = np.linspace(-1, 1, 5), np.linspace(-2, 2, 3)
VALUES = np.arange(15.0).reshape(3, 5)
VALUES[0, :3] = np.nan, np.inf, -np.inf
CUT = nv.Slice(X, Y, VALUES, ("first", "second"), "cross entropy")
LINE = nv.Slice(X, None, VALUES[1], ("along",), "loss")


def params(seed=0):
    rng = np.random.default_rng(seed)
    return {
        "layers": [
            {"kernel": rng.normal(size=(2, 3)).astype(np.float32)},
            {"a/b": rng.normal(size=4), "a_b": np.ones(1)},
        ],
        "half": jnp.asarray(rng.normal(size=3), jnp.bfloat16),
        "scale": np.float32(2),
        "wave": (rng.normal(size=2) + 1j).astype(np.complex64),
    }


def same(one, other):
    assert jax.tree.structure(one) == jax.tree.structure(other)
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        assert np.asarray(a).dtype == np.asarray(b).dtype
        np.testing.assert_array_equal(np.asarray(a), np.asarray(b))


PATH = nv.stack_snapshots([params(i) for i in range(3)], [0, 10, 30])
PLANE = nv.Plane(params(), (params(1), params(2)), ("u", "v"), (0.5, 0.25), (3.0, float("nan")))


@pytest.fixture
def kept(tmp_path):
    nv.save_slice(tmp_path / "slice.zarr", CUT)
    nv.save_trajectory(tmp_path / "path.zarr", PATH, seconds=1.5, lost=float("inf"))
    nv.save_plane(tmp_path / "plane.zarr", PLANE)
    return tmp_path


@pytest.mark.parametrize("cut", [CUT, LINE], ids=["plane", "line"])
def test_a_slice_comes_back_whole(cut, tmp_path):
    nv.save_slice(tmp_path / "cut.zarr", cut)
    again = nv.load_slice(tmp_path / "cut.zarr")
    assert again.labels == cut.labels
    assert again.quantity == cut.quantity
    for one, other in ((again.x, cut.x), (again.y, cut.y), (again.values, cut.values)):
        np.testing.assert_array_equal(one, other)
    assert [path.name for path in tmp_path.iterdir()] == ["cut.zarr"]


def test_several_quantities_come_back_by_name(tmp_path):
    cut = CUT._replace(values={"train/loss": VALUES, "accuracy": -VALUES})
    nv.save_slice(tmp_path / "cut.zarr", cut)
    again = nv.load_slice(tmp_path / "cut.zarr")
    assert list(again.values) == ["train/loss", "accuracy"]
    np.testing.assert_array_equal(again.values["train/loss"], VALUES)
    np.testing.assert_array_equal(again.values["accuracy"], -VALUES)


def test_a_slice_may_grow_fields_of_every_kind(tmp_path, monkeypatch):
    class Work(NamedTuple):
        seconds: float = 1.0

    class Grown(NamedTuple):
        x: np.ndarray
        y: np.ndarray | None
        values: np.ndarray
        labels: tuple[str, ...] = ()
        quantity: str = "loss"
        gradient: np.ndarray | dict | None = None
        statistics: str = "kept"
        work: Work | None = None

    monkeypatch.setattr("nagviz.landscape.storage.Slice", Grown)
    gradient = np.stack([VALUES, -VALUES], axis=-1)
    for field in (gradient, {"train": gradient, "test": -gradient}, None):
        cut = Grown(*CUT[:5], field, "batch", Work())
        nv.save_slice(tmp_path / "cut.zarr", cut)
        again = nv.load_slice(tmp_path / "cut.zarr")
        assert (again.statistics, again.work) == ("batch", None)
        jax.tree.map(np.testing.assert_array_equal, again.gradient, field)
    nv.save_slice(tmp_path / "cut.zarr", Grown(*CUT[:5], gradient))
    assert xarray.open_zarr(tmp_path / "cut.zarr")["gradient"].dims == ("y", "x", "component_0")


def test_a_path_comes_back_like_given_parameters_with_its_types_and_facts(kept):
    path, facts = nv.load_trajectory(kept / "path.zarr", params(7))
    same(path.params, PATH.params)
    assert path.steps.tolist() == [0, 10, 30]
    assert facts == {"seconds": 1.5, "lost": float("inf")}


def test_without_a_tree_to_be_like_leaves_stand_in_nested_dicts(kept):
    path, _ = nv.load_trajectory(kept / "path.zarr")
    assert path.params["layers"][1].keys() == {"a/b", "a_b"}
    np.testing.assert_array_equal(path.params["layers"][1]["a/b"], PATH.params["layers"][1]["a/b"])
    np.testing.assert_array_equal(path.params["layers"][1]["a_b"], np.ones((3, 1)))


def test_a_single_array_is_parameters_too(tmp_path):
    nv.save_trajectory(tmp_path / "path.zarr", nv.Trajectory(np.arange(2), np.eye(2)))
    np.testing.assert_array_equal(nv.load_trajectory(tmp_path / "path.zarr")[0].params, np.eye(2))
    np.testing.assert_array_equal(nv.load_trajectory(tmp_path / "path.zarr", np.ones(2))[0].params, np.eye(2))


def test_a_plane_comes_back_with_what_its_axes_are(kept):
    again = nv.load_plane(kept / "plane.zarr", params())
    same((again.origin, again.axes), (PLANE.origin, PLANE.axes))
    assert again.labels == PLANE.labels
    assert again.explained == PLANE.explained
    assert again.eigenvalues[0] == 3.0
    assert np.isnan(again.eigenvalues[1])


def test_a_path_on_disk_is_projected_and_cut_through_as_the_one_in_memory(kept):
    stored = nv.open_trajectory(kept / "path.zarr", params())
    assert isinstance(stored.params["layers"][0]["kernel"], tensorstore.TensorStore)
    for centred in (False, True):
        plane, other = nv.pca_plane(stored, centred=centred), nv.pca_plane(PATH, centred=centred)
        same((plane.origin, plane.axes), (other.origin, other.axes))
    np.testing.assert_array_equal(nv.project(PLANE, stored).coordinates, nv.project(PLANE, PATH).coordinates)


def test_numbers_that_zarr_would_leave_out_are_kept(tmp_path):
    """A chunk of the fill value alone is not a lost one."""
    nv.save_slice(tmp_path / "cut.zarr", CUT._replace(values=np.full((3, 5), np.nan)))
    assert np.isnan(nv.load_slice(tmp_path / "cut.zarr").values).all()
    nv.save_trajectory(tmp_path / "path.zarr", nv.Trajectory(np.zeros(1, int), {"w": np.zeros((1, 2))}))
    assert nv.load_trajectory(tmp_path / "path.zarr")[0].steps.tolist() == [0]


def test_long_paths_are_kept_in_chunks_of_steps(tmp_path, monkeypatch):
    monkeypatch.setattr("nagviz.landscape.arrays._CHUNK", 48)
    path = nv.Trajectory(np.arange(7), {"w": np.arange(21.0).reshape(7, 3)})
    nv.save_trajectory(tmp_path / "path.zarr", path)
    assert len(list((tmp_path / "path.zarr" / "params.w" / "c").iterdir())) == 4
    np.testing.assert_array_equal(nv.load_trajectory(tmp_path / "path.zarr")[0].params["w"], path.params["w"])


def test_xarray_opens_what_is_kept_with_dimensions_coordinates_and_attributes(kept):
    cut = xarray.open_zarr(kept / "slice.zarr")
    assert cut["values"].dims == ("y", "x")
    assert set(cut.coords) == {"x", "y"}
    assert (cut.x.long_name, cut.y.long_name, cut["values"].long_name) == ("first", "second", "cross entropy")
    assert cut.attrs["quantity"] == "cross entropy"
    np.testing.assert_array_equal(cut["values"], VALUES)
    np.testing.assert_array_equal(cut["values"].sel(x=0.5, y=2), VALUES[2, 3])
    path = xarray.open_zarr(kept / "path.zarr")
    assert path["params.layers.0.kernel"].dims == ("step", "layers.0.kernel_0", "layers.0.kernel_1")
    np.testing.assert_array_equal(path["params.layers.0.kernel"].sel(step=10), PATH.params["layers"][0]["kernel"][1])
    plane = xarray.open_zarr(kept / "plane.zarr")
    assert plane["axes.layers.0.kernel"].dims == ("axis", "layers.0.kernel_0", "layers.0.kernel_1")
    np.testing.assert_array_equal(plane["axes.half"][1], np.asarray(params(2)["half"], np.float32))


def test_zarr_python_opens_what_is_kept(kept):
    group = zarr.open_group(kept / "path.zarr", mode="r")
    assert dict(group.attrs)["nagviz"] == {"kind": "trajectory", "version": 1}
    for name, path, leaf in (
        ("params.layers.0.kernel", ["layers", 0, "kernel"], PATH.params["layers"][0]["kernel"]),
        ("params.layers.1.a_b", ["layers", 1, "a/b"], PATH.params["layers"][1]["a/b"]),
        ("params.wave", ["wave"], PATH.params["wave"]),
    ):
        assert group[name].attrs["path"] == path
        np.testing.assert_array_equal(group[name][:], leaf)


@pytest.mark.parametrize("record", [CUT, LINE, PATH, PLANE], ids=["slice", "line", "path", "plane"])
def test_every_record_goes_through_numpy_files(record, tmp_path):
    np.savez(tmp_path / "held.npz", **nv.to_numpy(record))
    like = params() if isinstance(record, nv.Plane | nv.Trajectory) else None
    with np.load(tmp_path / "held.npz", allow_pickle=False) as held:
        again = nv.from_numpy(held, like)
    assert type(again) is type(record)
    if isinstance(record, nv.Plane):
        assert again.labels == record.labels
        same((again.origin, again.axes), (record.origin, record.axes))
    else:
        same(list(again), list(record))


def test_arrays_of_something_else_are_no_record():
    for held in ({"x": X}, {"attributes": np.array("{}")}, {**nv.to_numpy(CUT), "attributes": np.array("no json")}):
        with pytest.raises(ValueError, match="held must be the arrays of a record"):
            nv.from_numpy(held)


def numbers(element):
    raw = base64.b64decode(element.text)
    assert np.frombuffer(raw[:8], "<u8")[0] == len(raw) - 8
    return np.frombuffer(raw[8:], "<f8")


@pytest.mark.parametrize("cut", [CUT, LINE], ids=["plane", "line"])
def test_a_structured_grid_holds_the_points_and_the_numbers_at_them(cut, tmp_path):
    nv.save_vts(tmp_path / "cut.vts", cut)
    root = ElementTree.parse(tmp_path / "cut.vts").getroot()
    assert root.attrib | {"version": ""} == {
        "type": "StructuredGrid",
        "version": "",
        "byte_order": "LittleEndian",
        "header_type": "UInt64",
    }
    rows = 1 if cut.y is None else len(cut.y)
    assert root.find("StructuredGrid").get("WholeExtent") == f"0 4 0 {rows - 1} 0 0"
    points = numbers(root.find(".//Points/DataArray")).reshape(rows, 5, 3)
    np.testing.assert_array_equal(points[0, :, 0], cut.x)
    np.testing.assert_array_equal(points[:, 2, 1], 0 if cut.y is None else cut.y)
    field = root.find(".//PointData/DataArray")
    assert field.get("Name") == cut.quantity
    np.testing.assert_array_equal(numbers(field).reshape(cut.values.shape), cut.values)
    assert [path.name for path in tmp_path.iterdir()] == ["cut.vts"]


def test_several_quantities_are_fields_of_one_grid(tmp_path):
    nv.save_vts(tmp_path / "cut.vts", CUT._replace(values={"a <b>": VALUES, "c": -VALUES}))
    fields = ElementTree.parse(tmp_path / "cut.vts").findall(".//PointData/DataArray")
    assert [field.get("Name") for field in fields] == ["a <b>", "c"]


def test_a_write_that_fails_leaves_what_was_there_and_nothing_else(kept):
    broken = CUT._replace(labels=(object(), "second"))
    with pytest.raises(TypeError):
        nv.save_slice(kept / "slice.zarr", broken)
    assert nv.load_slice(kept / "slice.zarr").labels == CUT.labels
    with pytest.raises(TypeError):
        nv.save_slice(kept / "new.zarr", broken)
    assert {path.name for path in kept.iterdir()} == {"slice.zarr", "path.zarr", "plane.zarr"}


def test_a_record_is_replaced_whole_and_what_is_not_ours_is_never_touched(kept):
    nv.save_slice(kept / "slice.zarr", LINE)
    assert nv.load_slice(kept / "slice.zarr").y is None
    (kept / "thesis").mkdir()
    (kept / "thesis" / "chapter.tex").write_text("years of work")
    with pytest.raises(FileExistsError, match="thesis exists and was not written by nagviz"):
        nv.save_slice(kept / "thesis", CUT)
    assert (kept / "thesis" / "chapter.tex").read_text() == "years of work"


def test_what_is_no_slice_is_refused_by_name(kept):
    with pytest.raises(FileNotFoundError, match=r"none\.zarr does not exist"):
        nv.load_slice(kept / "none.zarr")
    with pytest.raises(ValueError, match=r"path\.zarr holds a trajectory, not a slice"):
        nv.load_slice(kept / "path.zarr")
    zarr.open_group(kept / "foreign.zarr", mode="w")
    (kept / "text.zarr").write_text("text")
    for name in ("foreign.zarr", "text.zarr"):
        with pytest.raises(ValueError, match=f"{name} is no zarr v3 group that nagviz wrote"):
            nv.load_slice(kept / name)


def test_a_later_format_is_refused(kept):
    head = kept / "slice.zarr" / "zarr.json"
    facts = json.loads(head.read_text())
    facts["attributes"]["nagviz"]["version"] = 2
    head.write_text(json.dumps(facts))
    with pytest.raises(ValueError, match="later nagviz"):
        nv.load_slice(kept / "slice.zarr")


def flip(file):
    data = bytearray(file.read_bytes())
    data[3] ^= 1
    file.write_bytes(data)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: (folder / "zarr.json").write_text("{"), "its zarr.json is damaged"),
        (lambda folder: (folder / "values" / "zarr.json").unlink(), "the array 'values' is missing or damaged"),
        (lambda folder: (folder / "values" / "c" / "0" / "0").unlink(), "1 chunks of the array 'values' are lost"),
        (lambda folder: flip(folder / "values" / "c" / "0" / "0"), "the array 'values' is damaged.*Digest mismatch"),
        (lambda folder: forget(folder, "values"), "is damaged, or was written by another"),
    ],
    ids=["head", "array", "lost", "flipped", "forgotten"],
)
def test_damage_is_told_where_it_is(damage, message, kept):
    damage(kept / "slice.zarr")
    with pytest.raises(ValueError, match=message) as told:
        nv.load_slice(kept / "slice.zarr")
    assert "slice.zarr" in str(told.value)


def forget(folder, name):
    facts = json.loads((folder / "zarr.json").read_text())
    del facts["consolidated_metadata"]["metadata"][name]
    (folder / "zarr.json").write_text(json.dumps(facts))


def test_a_tree_that_was_not_saved_is_refused_and_the_first_difference_named(kept):
    other = params()
    other["layers"][0] = {"kernel": np.zeros((2, 4), np.float32)}
    with pytest.raises(
        ValueError, match=r"like\['layers', 0, 'kernel'\] has the shape \(2, 4\), but the shape \(2, 3\)"
    ):
        nv.load_trajectory(kept / "path.zarr", other)
    more, fewer = params() | {"new": np.zeros(1)}, params()
    del fewer["half"]
    with pytest.raises(ValueError, match=r"like\['new'\].*nothing was saved"):
        nv.load_plane(kept / "plane.zarr", more)
    with pytest.raises(ValueError, match=r"has \['half'\] too"):
        nv.load_plane(kept / "plane.zarr", fewer)


def test_the_library_loads_tensorstore_only_where_it_is_used():
    code = "import sys, nagviz as nv; nv.save_slice; print('tensorstore' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "False"


def test_a_kill_at_any_moment_of_a_replacement_leaves_a_whole_group(tmp_path, monkeypatch):
    """The old one stands, or the new one, or both beside the place; a later save mends it."""
    cuts = [nv.Slice(np.arange(3.0), None, np.full(3, value)) for value in (1.0, 2.0, 3.0)]
    file = tmp_path / "s.zarr"
    nv.save_slice(file, cuts[0])
    rename, calls = Path.rename, []

    def dies(self, target):
        calls.append(self.name)
        if len(calls) == 2:  # the old one is out of the way, the new one not yet in place
            raise KeyboardInterrupt
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", dies)
    with pytest.raises(KeyboardInterrupt):
        nv.save_slice(file, cuts[1])
    monkeypatch.undo()
    assert nv.load_slice(tmp_path / ".s.zarr.old").values[0] == 1.0
    assert nv.load_slice(tmp_path / ".s.zarr.partial").values[0] == 2.0
    nv.save_slice(file, cuts[2])
    assert nv.load_slice(file).values[0] == 3.0
    assert [path.name for path in tmp_path.iterdir()] == ["s.zarr"]
