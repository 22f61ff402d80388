"""Nesterov's accelerated gradient, exact in Optax, and the loss landscape it moves on.

The public names of `nagviz.optim` and `nagviz.landscape` stand here too, and are loaded when they are
first used: importing nagviz alone loads neither jax nor flax nor matplotlib.

    import nagviz as nv

    optimizer = nv.nag(1e-2, momentum=0.9)
    cut = nv.evaluate(loss, plane, x, y)
    nv.figures.landscape(cut, {"NAG": path})
"""

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nagviz import figures as figures
    from nagviz.landscape import *  # noqa: F403
    from nagviz.optim import *  # noqa: F403

_ROOMS = ("optim", "landscape", "figures", "experiment")


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return version("nagviz")
    if name in _ROOMS:
        return import_module(f"nagviz.{name}")
    if not name.startswith("_"):
        for room in _ROOMS[:2]:
            module = import_module(f"nagviz.{room}")
            if name in module.__all__:
                return getattr(module, name)
    raise AttributeError(f"module 'nagviz' has no attribute {name!r}")


def __dir__() -> list[str]:
    public = (import_module(f"nagviz.{room}").__all__ for room in _ROOMS[:2])
    return sorted({*globals(), *_ROOMS, *(name for names in public for name in names)})
