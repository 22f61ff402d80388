"""The part of a function that is linear in a slice's coordinates, worked out once per slice.

On a slice every parameter is c0 + a c1 + b c2. An operation that is linear in it, with data for its other
operands, leaves it of that form, so that it is carried out three times in all instead of once per point. Here
a jaxpr is read with every value one of three kinds,

    CONSTANT    depends on data alone
    AFFINE      c0 + a c1 + b c2 (one part more than the slice has axes)
    GENERAL     anything else

and cut in two: `prepare` works out what is constant and the parts of what is affine, once for all points, and
`point` finishes the rest at given coordinates. The two are explicit because a compiler leaves in the body of
a loop whatever is written there, even where it does not depend on the loop.

    phases = split(jax.make_jaxpr(f)(params, batch), leaves_of_params, axes=2)
    held = phases.prepare(constants, origin, axes, data)
    f(params at (a, b), batch) == phases.point(held, (a, b))
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import Literal

CONSTANT, AFFINE, GENERAL = range(3)

# Equations that only call another jaxpr, and the parameter that holds it.
_CALLS = {
    "call": "call_jaxpr",
    "checkpoint": "jaxpr",
    "closed_call": "call_jaxpr",
    "core_call": "call_jaxpr",
    "custom_jvp_call": "call_jaxpr",
    "custom_vjp_call": "call_jaxpr",
    "custom_vjp_call_jaxpr": "fun_jaxpr",
    "jit": "jaxpr",
    "pjit": "jaxpr",
    "remat": "jaxpr",
    "remat2": "jaxpr",
}

# Left whole where derivatives are wanted, since these say what their derivative is.
_OWN_DERIVATIVE = frozenset({"custom_jvp_call", "stop_gradient"})

_ANY, _FIRST, _SECOND = slice(None), slice(1), slice(1, 2)

# The operands in which a primitive is linear jointly, where all its other operands are constant.
_LINEAR: dict[str, tuple[slice, ...]] = {
    **dict.fromkeys(("add", "add_any", "concatenate", "optimization_barrier", "pad", "sub"), (_ANY,)),
    **dict.fromkeys(("conv_general_dilated", "dot_general", "mul"), (_FIRST, _SECOND)),
    **dict.fromkeys(("div", "dynamic_slice", "gather"), (_FIRST,)),
    **dict.fromkeys(
        (
            *("broadcast_in_dim", "conj", "convert_element_type", "copy", "copy_p", "cumsum", "expand_dims"),
            *("fft", "imag", "name", "neg", "real", "reduce_sum", "reduce_window_sum"),
            *(
                "reshape",
                "rev",
                "sharding_constraint",
                "slice",
                "split",
                "squeeze",
                "stop_gradient",
                "transpose",
                "unstack",
            ),
        ),
        (_FIRST,),
    ),
    "dynamic_update_slice": (slice(2),),
    "scatter-add": (slice(0, 3, 2),),
    "select_n": (slice(1, None),),
}

# Cheap enough to be done again at every point where that spares holding a much larger array.
_CHEAP = frozenset(
    (
        *("add", "and", "broadcast_in_dim", "concatenate", "convert_element_type", "copy", "div", "eq", "expand_dims"),
        *("gather", "ge", "gt", "iota", "le", "lt", "max", "min", "mul", "ne", "neg", "not", "or", "pad", "reshape"),
        *("rev", "select_n", "slice", "squeeze", "sub", "transpose"),
    )
)


class Equation(NamedTuple):
    """One primitive applied to numbered values."""

    source: Any  # the jaxpr's equation: its primitive, parameters and context
    inputs: tuple[int | Literal, ...]
    outputs: tuple[int, ...]

    @property
    def name(self) -> str:
        """Of the primitive."""
        return self.source.primitive.name


class Program(NamedTuple):
    """A jaxpr without calls, its values numbered."""

    equations: tuple[Equation, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int | Literal, ...]
    constants: dict[int, Any]  # arrays that the function closed over
    avals: tuple[Any, ...]  # shape and dtype of every value


class Affine(NamedTuple):
    """c0 + a c1 + b c2, by its parts."""

    parts: tuple[jax.Array, ...]


class Phases(NamedTuple):
    """A function cut in two."""

    prepare: Callable[..., list]  # (constants, origin, axes, data) -> held: arrays and `Affine`s
    point: Callable[..., list]  # (held, coordinates, extra) -> the function's outputs
    constants: list  # what the function closed over, as arguments for `prepare`
    leaves: tuple[int | None, ...]  # of each value held: the number of the parameters' leaf that it is, if it is one
    held_bytes: int  # without those leaves, which whoever has the plane need not hold again
    moved: bool  # whether any work was taken out of `point`


def split(closed, params: int, axes: int, *, still=frozenset(), extra=0, linear=True, differentiate=False) -> Phases:
    """Cut a function of (params, data, extra), given as a closed jaxpr of flat arguments.

    Args:
        closed: what `jax.make_jaxpr` returned.
        params: how many of the arguments, from the first on, are leaves of the parameters.
        axes: of the slice.
        still: numbers of the leaves that do not move along any axis; they count as data.
        extra: how many arguments, at the end, are given anew at every point.
        linear: whether to carry what is affine; otherwise only what is constant is taken out.
        differentiate: keep the derivatives that functions declare, for `jax.jvp` of `point`.

    Returns:
        The phases. A function with side effects keeps all its work in `point`.
    """
    program = _flatten(closed, _OWN_DERIVATIVE if differentiate else frozenset())
    last = len(program.inputs) - extra
    moving = [i for n, i in enumerate(program.inputs[:params]) if n not in still]
    barred = _OWN_DERIVATIVE if differentiate else frozenset()
    kinds = _kinds(program, moving, program.inputs[last:], barred, linear=linear, pure=not closed.effects)
    later, held = _cut(program, kinds, axes + 1)
    sliced = frozenset() if differentiate else _pooled_by_slices(later, held)
    # All of them: what is done again at every point may be needed here too, and the compiler drops the rest.
    before = [equation for equation in program.equations if not _is_general(equation, kinds)]
    names = list(program.constants)

    def prepare(constants, origin, along, data):
        values = dict(zip(names, constants, strict=True)) | dict(
            zip(program.inputs[:last], [*leaves_of(origin, along, still), *data], strict=True)
        )
        for equation in before:
            _assign(values, equation, _carry(values, equation, kinds, axes + 1))
        return [values[i] for i in held]

    def point(prepared, coordinates, fresh=()):
        values = {
            i: materialise(v, coordinates) if isinstance(v, Affine) else v for i, v in zip(held, prepared, strict=True)
        }
        values.update(zip(program.inputs[last:], fresh, strict=True))
        for equation in later:
            operands = [_read(values, i) for i in equation.inputs]
            by_slices = not sliced.isdisjoint(equation.outputs)
            _assign(values, equation, _max_of_slices(equation, *operands) if by_slices else _bind(equation, operands))
        return [_read(values, i) for i in program.outputs]

    numbers = {i: n for n, i in enumerate(program.inputs[:params])}
    size = sum(_weight(program, kinds, i, axes + 1) for i in held if i not in numbers)
    moved = any(kinds[o] == AFFINE for e in before for o in e.outputs)
    return Phases(prepare, point, list(program.constants.values()), tuple(map(numbers.get, held)), size, moved)


def leaves_of(origin: Sequence[Any], along: Sequence[Sequence[Any]], still=frozenset()) -> list[Any]:
    """The leaves of a plane as they are held: what no axis moves is the origin's alone."""
    leaves = enumerate(zip(origin, *along, strict=True))
    return [parts[0] if n in still else Affine(parts) for n, parts in leaves]


def materialise(value: Affine, coordinates) -> jax.Array:
    """c0 + (a c1 + b c2) in the dtype of the parts, summed in float32 or wider."""
    first, *rest = value.parts
    wide = jnp.promote_types(first.dtype, jnp.float32) if _inexact(first) else first.dtype
    moved = sum(c.astype(wide) * part.astype(wide) for c, part in zip(coordinates, rest, strict=True))
    return (first.astype(wide) + moved).astype(first.dtype)


def all_finite(held: Iterable[Any]) -> jax.Array:
    """Whether every part of every affine value is finite.

    Where c0 or c1 is infinite, c0 + a c1 may be NaN though the function itself is not, as in (1 - a / 2) / 0.
    """
    parts = [part for value in held if isinstance(value, Affine) for part in value.parts if _inexact(part)]
    return jnp.all(jnp.stack([jnp.all(jnp.isfinite(part)) for part in parts])) if parts else jnp.array(True)


def _flatten(closed, whole: frozenset[str]) -> Program:
    """The jaxpr with its calls written out, except those of the primitives named."""
    avals, equations, constants = [], [], {}

    def new(aval) -> int:
        avals.append(aval)
        return len(avals) - 1

    def walk(inner, arguments):
        jaxpr = getattr(inner, "jaxpr", inner)
        env = dict(zip(jaxpr.invars, arguments, strict=True))
        for var, array in zip(jaxpr.constvars, getattr(inner, "consts", ()), strict=True):
            env[var] = new(var.aval)
            constants[env[var]] = array
        for eqn in jaxpr.eqns:
            inputs = tuple(_lookup(env, atom) for atom in eqn.invars)
            name = eqn.primitive.name
            if name in _CALLS and name not in whole:
                outputs = walk(eqn.params[_CALLS[name]], inputs)
            else:
                outputs = tuple(new(var.aval) for var in eqn.outvars)
                equations.append(Equation(eqn, inputs, outputs))
            env.update(zip(eqn.outvars, outputs, strict=True))
        return tuple(_lookup(env, atom) for atom in jaxpr.outvars)

    inputs = tuple(new(var.aval) for var in closed.jaxpr.invars)
    outputs = walk(closed, inputs)
    return Program(tuple(equations), inputs, outputs, constants, tuple(avals))


def _lookup(env, atom):
    return atom if isinstance(atom, Literal) else env[atom]


def _kinds(program: Program, moving, fresh, barred=frozenset(), *, linear: bool, pure: bool) -> list[int]:
    """Of what kind each value is."""
    kinds = [CONSTANT] * len(program.avals)
    for i in moving:
        kinds[i] = AFFINE
    for i in fresh:
        kinds[i] = GENERAL
    for equation in program.equations:
        given = [CONSTANT if isinstance(i, Literal) else kinds[i] for i in equation.inputs]
        kind = max(given, default=CONSTANT) if pure else GENERAL
        if kind == AFFINE and not (linear and equation.name not in barred and _stays_affine(program, equation, given)):
            kind = GENERAL
        for output in equation.outputs:
            kinds[output] = kind
    return kinds


def _stays_affine(program: Program, equation: Equation, given: Sequence[int]) -> bool:
    moving = {n for n, kind in enumerate(given) if kind == AFFINE}
    ends = [*(equation.inputs[n] for n in moving), *equation.outputs]
    return all(_inexact(program.avals[i]) for i in ends) and bool(_group(equation, moving))


def _group(equation: Equation, moving: set[int]) -> set[int]:
    """The operands, those that move among them, in which the equation is linear jointly; none if it is not."""
    positions = range(len(equation.inputs))
    groups = (set(positions[group]) for group in _LINEAR.get(equation.name, ()))
    return next((group for group in groups if moving <= group), set())


def _cut(program: Program, kinds: Sequence[int], parts: int) -> tuple[list[Equation], list[int]]:
    """The equations that every point must carry out, in order, and the values to hold for them."""
    maker = {output: equation for equation in program.equations for output in equation.outputs}
    needed = {i for i in program.outputs if not isinstance(i, Literal)}
    later: list[Equation] = []
    for equation in reversed(program.equations):
        wanted = needed.intersection(equation.outputs)
        live = wanted or equation.source.effects
        if live and (_is_general(equation, kinds) or _spares(program, kinds, parts, maker, equation, needed)):
            later.append(equation)
            needed.update(i for i in equation.inputs if not isinstance(i, Literal))
    made = {output for equation in later for output in equation.outputs}
    return later[::-1], sorted(i for i in needed - made if kinds[i] != GENERAL)


def _is_general(equation: Equation, kinds: Sequence[int]) -> bool:
    """Whether it must be carried out at every point; one without outputs is there for its effect."""
    return not equation.outputs or kinds[equation.outputs[0]] == GENERAL


def _spares(program, kinds, parts, maker, equation, needed) -> bool:
    """Whether to do an equation again at every point, because what it reads is much smaller than what it makes."""
    if equation.name not in _CHEAP:
        return False
    made = sum(_weight(program, kinds, i, parts) for i in equation.outputs)
    read = [i for i in equation.inputs if not isinstance(i, Literal) and i not in needed]
    return 2 * sum(_sources(program, kinds, parts, maker, i) for i in read) <= made


def _sources(program, kinds, parts, maker, i) -> int:
    """Bytes to hold for a value, or for what it can be made of cheaply, whichever is less."""
    own = _weight(program, kinds, i, parts)
    if i not in maker or maker[i].name not in _CHEAP:
        return own
    inputs = [j for j in maker[i].inputs if not isinstance(j, Literal)]
    return min(own, sum(_sources(program, kinds, parts, maker, j) for j in inputs))


def _weight(program: Program, kinds: Sequence[int], i: int, parts: int) -> int:
    aval = program.avals[i]
    return int(np.prod(aval.shape, dtype=np.int64)) * aval.dtype.itemsize * (parts if kinds[i] == AFFINE else 1)


def _carry(values, equation: Equation, kinds, parts: int):
    """Carry out an equation on constants, or on every part of its affine operands."""
    operands = [_read(values, i) for i in equation.inputs]
    moving = {n for n, operand in enumerate(operands) if isinstance(operand, Affine)}
    if not moving:
        return _bind(equation, operands)
    group = _group(equation, moving)
    results = [
        _bind(equation, [_part(o, i) if n in group else o for n, o in enumerate(operands)], first=i == 0)
        for i in range(parts)
    ]
    if not equation.source.primitive.multiple_results:
        return Affine(tuple(results))
    return [Affine(parts) for parts in zip(*results, strict=True)]


def _part(operand, i: int):
    if isinstance(operand, Affine):
        return operand.parts[i]
    return operand if i == 0 else jnp.zeros_like(operand)


def _bind(equation: Equation, operands, first: bool = True):
    source = equation.source
    params = source.params
    if not first and "fill_value" in params:
        params = {**params, "fill_value": 0}  # what a gather puts beyond the edge belongs to c0 alone
    bound = source.primitive.get_bind_params(params)
    functions, params = bound if isinstance(bound, tuple) else ((), bound)  # jax < 0.10 has a pair
    with source.ctx.manager:
        return source.primitive.bind(*functions, *operands, **params)


def _pooled_by_slices(later: Sequence[Equation], held: Iterable[int]) -> frozenset[int]:
    """What is pooled over a small window straight from held values, with nothing but cheap work between.

    A whole point of a CNN took 87 ms instead of 147 where its second pooling, which reads a convolution's
    result, was left to XLA.
    """
    near = set(held)
    for equation in later:
        if equation.name in _CHEAP and near.issuperset(i for i in equation.inputs if not isinstance(i, Literal)):
            near.update(equation.outputs)
    return frozenset(e.outputs[0] for e in later if _small_window(e) and e.inputs[0] in near)


def _small_window(equation: Equation) -> bool:
    """Whether it is max pooling over a few elements, without padding or dilation."""
    if equation.name != "reduce_window_max":
        return False
    params = equation.source.params
    plain = all(n == 1 for n in (*params["base_dilation"], *params["window_dilation"]))
    return plain and not np.any(params["padding"]) and np.prod(params["window_dimensions"]) <= 9


def _max_of_slices(equation: Equation, operand: jax.Array) -> jax.Array:
    """Max pooling as the greatest of strided slices, which XLA fuses with what makes the operand.

    It does not fuse `reduce_window` with it on the CPU: pooling the first layer took four times as long.
    """
    shape, strides = equation.source.outvars[0].aval.shape, equation.source.params["window_strides"]
    pooled = None
    for start in np.ndindex(*equation.source.params["window_dimensions"]):
        stop = [i + (n - 1) * step + 1 for i, n, step in zip(start, shape, strides, strict=True)]
        part = jax.lax.slice(operand, start, stop, strides)
        pooled = part if pooled is None else jnp.maximum(pooled, part)
    return pooled


def _assign(values, equation: Equation, results) -> None:
    results = results if equation.source.primitive.multiple_results else [results]
    values.update(zip(equation.outputs, results, strict=True))


def _read(values, i):
    return i.val if isinstance(i, Literal) else values[i]


def _inexact(value) -> bool:
    return jnp.issubdtype(value.dtype, jnp.inexact)
