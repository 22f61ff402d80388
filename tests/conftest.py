"""What every room's tests share."""

from importlib.util import find_spec

import jax
import pytest


def pytest_configure(config):
    if config.option.markexpr == "tpu_aot":
        jax.config.update("jax_platforms", "cpu")  # with libtpu installed jax would look for a TPU
        config.option.reportchars += "P"  # what they print is what they are for


@pytest.fixture(scope="session")
def v5e():
    """Four TPU v5e to compile for, as a mesh of one axis; libtpu does it without one."""
    from jax.experimental import topologies

    if find_spec("libtpu") is None:
        pytest.fail("needs libtpu: pip install -e '.[test,tpu]', in an environment of its own")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in ABSENT.items():
            patch.setenv(name, value)
        topology = topologies.get_topology_desc(platform="tpu", topology_name="v5e:2x2")
        yield topologies.make_mesh(topology, (4,), ("grid",))


ABSENT = {  # what libtpu would ask the machine that it is on
    "TPU_SKIP_MDS_QUERY": "1",
    "TPU_ACCELERATOR_TYPE": "v5litepod-4",
    "TPU_WORKER_HOSTNAMES": "localhost",
    "TPU_WORKER_ID": "0",
}


def double_precision():
    jax.config.update("jax_enable_x64", True)
    yield
    jax.config.update("jax_enable_x64", False)


x64 = pytest.fixture(double_precision, name="x64")  # for one test of exactness
x64_module = pytest.fixture(double_precision, scope="module", name="x64_module")  # for a file of nothing else
