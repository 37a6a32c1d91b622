"""jaxtyping's checks of shapes and types, made cheap: imported before selfloop, it replaces `jaxtyping.jaxtyped`.

pytest's option --jaxtyping-packages decorates every function. What jaxtyping's own decorator does at each call beside
checking, binding the arguments for its messages, costs more than the kernels that are tested (the gradients of all
cells by finite differences: 26 s with it, 13 s with this one). Here, too, beartype checks arguments and results, and
axes of one name have one size within a call.
"""

import functools
import inspect
from dataclasses import is_dataclass
from typing import Any, get_type_hints

import jaxtyping
from beartype import beartype

axes_of_one_call = jaxtyping.jaxtyped


def checked(thing):
    """A function that checks what it takes and returns; a dataclass checks what it is made of."""
    if inspect.isclass(thing):
        if is_dataclass(thing):
            thing.__init__ = checked(thing.__init__)
        return thing
    if isinstance(thing, classmethod | staticmethod):
        return type(thing)(checked(thing.__func__))
    if isinstance(thing, property):
        accessors = (thing.fget, thing.fset, thing.fdel)
        return property(*(function and checked(function) for function in accessors), thing.__doc__)
    thing.__annotations__ = {name: known(thing, name) for name in getattr(thing, "__annotations__", {})}
    tested = beartype(thing)
    if not any("jaxtyping" in repr(annotation) for annotation in thing.__annotations__.values()):
        return tested

    @functools.wraps(thing)
    def in_one_call(*arguments, **options):
        __tracebackhide__ = True
        with axes_of_one_call("context"):
            return tested(*arguments, **options)

    return in_one_call


def known(function, name):
    """An annotation; Any, as jaxtyping has it, where it names what only type checkers import, or its own class."""
    alone = functools.partial(function)
    alone.__annotations__ = {name: function.__annotations__[name]}
    try:
        get_type_hints(alone, function.__globals__)
    except NameError:
        return Any
    return function.__annotations__[name]


jaxtyping.jaxtyped = lambda typechecker: checked
