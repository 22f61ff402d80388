"""What every room's tests share."""

import os
import tempfile

# Programs that several tests compile, or the processes that they start, are compiled once a session and then read: the
# same ones to the bit. Told before jax is loaded, to this process and to all that it starts.
if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
    kept = tempfile.TemporaryDirectory(prefix="nagviz-tests-", ignore_cleanup_errors=True)
    os.environ |= {
        "JAX_COMPILATION_CACHE_DIR": kept.name,
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
    }

import jax
import pytest


def double_precision():
    jax.config.update("jax_enable_x64", True)
    yield
    jax.config.update("jax_enable_x64", False)


x64 = pytest.fixture(double_precision, name="x64")  # for one test of exactness
x64_module = pytest.fixture(double_precision, scope="module", name="x64_module")  # for a file of nothing else
