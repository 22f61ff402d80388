"""Code of the user's own: a model, or a loss, by `module:function`.

A config can name it, and it is imported only where the command line says `--trust`: the file of another person
then runs nothing that was not asked for. A model is made by a function of what a sample looks like:

    # my_models.py, in the folder from which nagviz is started
    import math
    from flax import nnx

    def flat(inputs):
        return inputs.reshape(len(inputs), -1)

    def make(sample_shape, outputs, seed):      # of digits (8, 8, 1), 10 classes, 0
        rngs, size = nnx.Rngs(seed), math.prod(sample_shape)
        return nnx.Sequential(flat, nnx.Linear(size, 32, rngs=rngs), nnx.silu, nnx.Linear(32, outputs, rngs=rngs))

    def loss(outputs, targets):                 # (samples, 10), (samples,) -> scalar, a mean over the samples
        ...

    # in the config                             # on the command line
    [model]                                     $ nagviz run mine.toml --trust
    kind = "own"
    function = "my_models:make"
    [loss]
    function = "my_models:loss"

It returns a Flax nnx module that is called with inputs (samples, *sample_shape), or, for other libraries, a
`nagviz.experiment.models.Model`: parameters and a pure function of them.
"""

from __future__ import annotations

import difflib
import hashlib
import importlib
import inspect
import math
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from operator import attrgetter
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from nagviz.experiment.models import Model, take_apart
from nagviz.experiment.report import Refusal


def require_trust(named: dict[str, str | None], trust: bool) -> None:
    """Refuse to go on with a config that names code of the user's own, unless it is trusted; nothing is imported.

    Args:
        named: keys of the config, and what they name; None where they do not.
        trust: whether the command line said so.

    Raises:
        Refusal: with a line for every key that names code.

    Example:
        >>> require_trust({"model.function": None, "loss.function": None}, trust=False)
    """
    lines = [
        f"{key}: names {name}, which is code that would run with all your rights; read it, and give --trust to run it"
        for key, name in named.items()
        if name is not None
    ]
    if lines and not trust:
        raise Refusal("\n".join(lines))


def resolve(name: str, key: str = "function") -> Callable[..., Any]:
    """Import what a "module:function" names: from the current folder first, then from what is installed.

    Args:
        name: the module, with dots for packages, and the function in it, with dots for attributes.
        key: of the config, for what is said when something is wrong.

    Raises:
        Refusal: no such module, or one that cannot be imported; no such attribute, or one that cannot be called.

    Example:
        >>> resolve("math:hypot")(3, 4)
        5.0
        >>> resolve("math:hypo")
        Traceback (most recent call last):
        nagviz.experiment.report.Refusal: function: module math has no 'hypo'; did you mean 'hypot'?
    """
    module_name, _, attribute = name.partition(":")
    module = _imported(module_name, key)
    try:
        found = attrgetter(attribute)(module)
    except AttributeError:
        near = difflib.get_close_matches(attribute, dir(module), n=1)
        guess = f"; did you mean {near[0]!r}?" if near else ""
        raise Refusal(f"{key}: module {module_name} has no {attribute!r}{guess}") from None
    if not callable(found):
        raise Refusal(f"{key}: {name} must be a function, got {type(found).__name__}")
    return found


def _imported(name: str, key: str) -> Any:
    try:
        with _current_folder_first():
            return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name and f"{name}.".startswith(f"{error.name}."):
            here = Path.cwd()
            raise Refusal(
                f"{key}: there is no module {error.name}, neither in {here} nor installed; start from its folder"
            ) from None
        raise Refusal(f"{key}: module {name} could not be imported: {error}") from error
    except Exception as error:
        raise Refusal(f"{key}: module {name} could not be imported: {type(error).__name__}: {error}") from error


def source_digest(name: str) -> str:
    """The SHA-256 of the file of the module in a "module:function"; what that imports in turn is not looked at.

    Example:
        >>> len(source_digest("json:dumps"))
        64
    """
    file = getattr(_imported(name.partition(":")[0], "function"), "__file__", None)
    return hashlib.sha256(Path(file).read_bytes()).hexdigest() if file else "built in"


@contextmanager
def _current_folder_first() -> Iterator[None]:
    """As `python -m` does; the command `nagviz` itself does not."""
    here = str(Path.cwd())
    sys.path.insert(0, here)
    importlib.invalidate_caches()
    try:
        yield
    finally:
        sys.path.remove(here)


def make_model(name: str, sample_shape: Sequence[int], outputs: int, seed: int) -> Model:
    """The model that a function of the user's own makes: `function(sample_shape, outputs, seed)`.

    Raises:
        Refusal: it cannot be found or called so, or returns neither an nnx module without further state nor a
            `Model`.
    """
    key = "model.function"
    function = resolve(name, key)
    _require_arguments(function, name, key, ("sample_shape", "outputs", "seed"))
    made = function(tuple(sample_shape), outputs, seed)
    if isinstance(made, nnx.Module):
        try:
            return take_apart(made)
        except ValueError as error:
            raise Refusal(f"{key}: {name} returned a module that cannot be trained: {error}") from None
    if not isinstance(made, Model):
        raise Refusal(
            f"{key}: {name} must return a Flax nnx module or a nagviz.experiment.models.Model, "
            f"got {type(made).__name__}"
        )
    return made


def make_loss(name: str) -> Callable[[jax.Array, jax.Array], jax.Array]:
    """The loss that a function of the user's own is: `function(outputs, targets)`.

    Raises:
        Refusal: it cannot be found or called so.
    """
    key = "loss.function"
    function = resolve(name, key)
    _require_arguments(function, name, key, ("outputs", "targets"))
    return function


def _require_arguments(function: Callable[..., Any], name: str, key: str, arguments: Sequence[str]) -> None:
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # some of C have none
        return
    try:
        signature.bind(*arguments)
    except TypeError as error:
        wanted = ", ".join(arguments)
        raise Refusal(f"{key}: {name} must take ({wanted}), got {name.partition(':')[2]}{signature}: {error}") from None


def require_outputs(name: str, model: Model, inputs: Any, wanted: tuple[int, ...], *, exact: bool) -> None:
    """Refuse a model whose outputs are not what its task needs; nothing is computed.

    Args:
        name: what made it.
        model: the model.
        inputs: shape and dtype of some samples.
        wanted: the shape of their outputs.
        exact: whether that very shape, or as many numbers a sample in any.

    Raises:
        Refusal: no parameters, or such as are no floating-point arrays; outputs that are none, or of another shape.
    """
    key = f"model.function: {name}"
    if not jax.tree.leaves(model.params):
        raise Refusal(f"{key}: must have parameters to train, got none")
    for path, leaf in jax.tree_util.tree_leaves_with_path(model.params):
        if not jnp.issubdtype(jnp.result_type(leaf), jnp.floating):
            place = jax.tree_util.keystr(path)
            raise Refusal(f"{key}: params{place} must be an array of floating-point numbers, got {leaf!r}")
    outputs = jax.eval_shape(model.apply, model.params, inputs)
    shape, dtype = getattr(outputs, "shape", None), getattr(outputs, "dtype", None)
    fits = shape is not None and (shape == wanted if exact else _sizes(shape) == _sizes(wanted))
    if not fits or not jnp.issubdtype(dtype, jnp.floating):
        got = f"{shape} of {dtype}" if shape is not None else type(outputs).__name__
        raise Refusal(f"{key}: of inputs {inputs.shape} the outputs must be {wanted}, floating-point, got {got}")


def _sizes(shape: tuple[int, ...]) -> tuple[int, int]:
    return (shape[0] if shape else 0, math.prod(shape))


def require_scalar(name: str, loss: Callable[..., Any], outputs: Any, targets: Any) -> None:
    """Refuse a loss that is no floating-point number; nothing is computed.

    Raises:
        Refusal: with what it is.
    """
    value = jax.eval_shape(loss, outputs, targets)
    shape, dtype = getattr(value, "shape", None), getattr(value, "dtype", None)
    if shape != () or not jnp.issubdtype(dtype, jnp.floating):
        got = f"shape {shape} of {dtype}" if shape is not None else type(value).__name__
        raise Refusal(f"loss.function: {name} must return a floating-point scalar, got {got}")
