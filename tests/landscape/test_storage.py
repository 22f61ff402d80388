"""What is kept comes back as it was."""

import jax.numpy as jnp
import numpy as np

import nagviz as nv

PLANE = nv.Plane(jnp.array([1.0, 2.0]), (jnp.array([1.0, 0.0]), jnp.array([0.5, -1.0])), labels=("first", "second"))
X, Y = np.linspace(-1, 1, 5), np.linspace(-2, 2, 3)


def test_a_slice_is_saved_and_loaded_whole(tmp_path):
    cut = nv.evaluate(jnp.sum, PLANE, X, Y, quantity="sum")
    nv.save_slice(tmp_path / "cut.zarr", cut)
    again = nv.load_slice(tmp_path / "cut.zarr")
    assert again.labels == cut.labels
    assert again.quantity == "sum"
    for name in ("x", "y", "values"):
        np.testing.assert_array_equal(getattr(again, name), getattr(cut, name))
    assert [path.name for path in tmp_path.iterdir()] == ["cut.zarr"]
