"""What every room's tests share."""

import jax
import pytest


def double_precision():
    jax.config.update("jax_enable_x64", True)
    yield
    jax.config.update("jax_enable_x64", False)


x64 = pytest.fixture(double_precision, name="x64")  # for one test of exactness
x64_module = pytest.fixture(double_precision, scope="module", name="x64_module")  # for a file of nothing else
