"""What every room's tests share."""

import jax
import pytest


@pytest.fixture
def x64():
    """Double precision, for tests of exactness."""
    jax.config.update("jax_enable_x64", True)
    yield
    jax.config.update("jax_enable_x64", False)
