"""The plan of the house, kept by reading the imports."""

import ast
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "nagviz"
MODULES = sorted(PACKAGE.rglob("*.py"))
ROOMS = ("optim", "landscape", "figures", "experiment")

# What each room may load besides the standard library and itself.
MAY_LOAD = {
    "optim": {"jax", "numpy", "optax"},
    "landscape": {"jax", "numpy", "tensorstore"},
    "figures": {"numpy", "matplotlib", "mpl_toolkits", "PIL", "contourpy", "plotly", "imageio_ffmpeg"},
}


def module_name(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


KNOWN = {module_name(path) for path in MODULES}


def imports(path: Path) -> set[str]:
    """Full names of the modules a file imports, wherever in the file it does so."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import hides an arrow"
            inner = {f"{node.module}.{alias.name}" for alias in node.names}
            names |= (inner & KNOWN) or {node.module}
    return names


def room_of(name: str) -> str | None:
    parts = name.split(".")
    return parts[1] if parts[0] == "nagviz" and len(parts) > 1 and parts[1] in ROOMS else None


@pytest.mark.parametrize("room", MAY_LOAD)
def test_a_room_loads_only_what_its_plan_allows(room):
    for path in (PACKAGE / room).rglob("*.py"):
        foreign = {name.split(".")[0] for name in imports(path)} - set(sys.stdlib_module_names)
        assert foreign <= MAY_LOAD[room] | {"nagviz"}, path
        assert {room_of(name) for name in imports(path)} <= {room, None}, path


def test_only_the_entry_and_the_command_line_look_into_the_experiment_room():
    for path in MODULES:
        if room_of(module_name(path)) is None and path.name != "cli.py":
            loaded = {name for name in imports(path) if room_of(name)}
            guarded = path == PACKAGE / "__init__.py"  # under TYPE_CHECKING only
            assert guarded or not loaded, path


def test_files_stand_on_floors_without_a_circle():
    graph = {
        module_name(path): (imports(path) & KNOWN) - {module_name(path)}
        for path in MODULES
        if path != PACKAGE / "__init__.py"
    }
    graph = {module: {n for n in needs if n != "nagviz"} for module, needs in graph.items()}
    assert list(TopologicalSorter(graph).static_order())  # raises CycleError


def test_no_module_is_named_like_a_function_it_exports():
    for path in MODULES:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        defined = {n.name for n in tree.body if isinstance(n, ast.FunctionDef | ast.ClassDef)}
        assert path.stem not in defined - {"main"}, path


def loaded_after(statement: str) -> set[str]:
    code = f"{statement}\nimport sys\nprint(*sys.modules)"
    return set(subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split())


def test_importing_nagviz_loads_none_of_the_heavy_packages():
    heavy = {"jax", "flax", "optax", "matplotlib", "numpy", "sklearn", "pydantic", "rich"}
    assert not heavy & loaded_after("import nagviz")


def test_using_the_library_loads_neither_flax_nor_matplotlib():
    assert not {"flax", "matplotlib", "pydantic"} & loaded_after("import nagviz as nv; nv.nag; nv.evaluate")


def test_every_public_name_is_listed_and_reachable():
    import nagviz

    for room in ("optim", "landscape"):
        names = getattr(nagviz, room).__all__
        assert names == sorted(names, key=lambda n: (n[0].islower(), n))
        for name in names:
            assert getattr(nagviz, name).__doc__, name
            assert name in dir(nagviz)
    with pytest.raises(AttributeError, match="no_such_name"):
        nagviz.no_such_name  # noqa: B018
