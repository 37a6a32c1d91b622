"""What users see is typed: no `Any` in what is public, and what `load` returns is known for every task."""

import ast
import importlib
import inspect
import re
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

import selfloop
from selfloop.tasks import return_types
from selfloop.tasks.table import TASKS

PAGES = Path(__file__).parents[2] / "docs" / "api"
OVERLOAD = re.compile(r'task: Literal\["(\w+)"\].*?-> "(\w+)"', re.DOTALL)

FOR_TASKS = {
    *("open", "load_inputs", "build", "read_dataset", "reader", "truth", "judge", "answer", "answers"),
    *("NETWORK", "Run"),
}
"""What is for those who write a task: their own configuration and inputs are known to them alone."""

SPECIAL = ("__init__", "__call__", "__iter__", "__getitem__")

ALLOWED = {
    "Cell.__call__": "what the decorated function returns, one value or several",
    "Examples.inputs": "an example is what the data hold: a text, words, an array, an image",
    "Examples.labels": "a name, a list of names, a text, captions or a number",
    "ManyToOne.__init__": "keywords that are passed on",
    "ImageWriter.__init__": "likewise",
    "_DropIn.__init__": "private: RNN, LSTM and GRU have their own",
    "_CellDropIn.__init__": "private: RNNCell, LSTMCell and GRUCell have their own",
}


def documented() -> Iterator[object]:
    """What pages of the API reference show: `::: module.name`, or the members of a module that are named, or all."""
    for page in sorted(PAGES.glob("*.md")):
        for entry in re.finditer(r"^::: (\S+)(?:\n    options: \{(.*)\})?", page.read_text(), re.MULTILINE):
            home, _, name = entry[1].rpartition(".")
            try:
                found = importlib.import_module(entry[1])
            except ModuleNotFoundError:
                yield getattr(importlib.import_module(home), name)
                continue
            members = re.search(r"members: \[(.*?)\]", entry[2] or "")
            names = members[1].split(", ") if members else getattr(found, "__all__", None) or vars(found).get("WORDS")
            assert names, entry[1]
            yield from (getattr(found, one) for one in names)


def public() -> list[object]:
    """Functions and classes that users meet by name."""
    named = [getattr(selfloop, name) for name in selfloop.__all__]
    found = [one for one in (*named, *documented()) if inspect.isfunction(one) or inspect.isclass(one)]
    return list(dict.fromkeys(found))


def annotations(node: ast.AST, kind: str) -> Iterator[tuple[str, ast.expr]]:
    """The annotations of a function, or of the public members of a class, each with the name that it belongs to."""
    if isinstance(node, ast.FunctionDef) and node.name not in FOR_TASKS:
        arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs, node.args.vararg, node.args.kwarg]
        for one in (*(argument.annotation for argument in arguments if argument), node.returns):
            if one is not None:
                yield kind, one
    elif isinstance(node, ast.ClassDef):
        overloaded = {
            one.name
            for one in node.body
            if isinstance(one, ast.FunctionDef) and any(ast.unparse(d) == "overload" for d in one.decorator_list)
        }
        for one in node.body:
            name = getattr(one, "name", None) or ast.unparse(getattr(one, "target", ast.Constant(0)))
            if name in FOR_TASKS or (name.startswith("_") and name not in SPECIAL):
                continue
            if isinstance(one, ast.AnnAssign):
                yield f"{kind}.{name}", one.annotation
            elif isinstance(one, ast.FunctionDef):
                decorators = [ast.unparse(d) for d in one.decorator_list]
                if name not in overloaded or "overload" in decorators:  # else checkers do not see it
                    yield from annotations(one, f"{kind}.{name}")


def walk(start: list[object]) -> Iterator[tuple[str, str]]:
    """Each annotation, as text, of what is public, of what it derives from, and of what it returns and takes."""
    queue, seen = list(start), set()
    while queue:
        thing = queue.pop()
        if thing in seen or thing.__name__ in FOR_TASKS or not thing.__module__.startswith("selfloop."):
            continue
        seen.add(thing)
        if inspect.isclass(thing):
            queue += thing.__mro__[1:]
        (node,) = ast.parse(textwrap.dedent(inspect.getsource(thing))).body
        scope = vars(sys.modules[thing.__module__])
        for name, annotation in annotations(node, thing.__name__):
            text = ast.unparse(annotation)
            yield name, text
            words = [scope[word] for word in re.findall(r"\w+", text) if word in scope]
            queue += [word for word in words if inspect.isclass(word)]


def test_nothing_that_users_meet_is_typed_as_any():
    found = list(walk(public()))
    names = {name for name, _ in found}
    assert {"load", "Classifier.predict", "Prediction.probabilities", "LSTM.__init__", "GradientFlow.reach"} <= names
    untyped = {name: text for name, text in found if re.search(r"(?<!\.)\bAny\b", text)}
    assert untyped.keys() - ALLOWED == set(), untyped
    assert ALLOWED.keys() <= untyped.keys(), "a reason that is needed no more"


@pytest.mark.parametrize("table", [return_types.ByTask, return_types.ByRun])
def test_type_checkers_know_what_runs_of_each_task_open_as(table):
    known = dict(OVERLOAD.findall(inspect.getsource(table)))
    assert known == {task: row.predictor.__name__ for task, row in TASKS.items()}


@pytest.mark.parametrize("module", [selfloop, importlib.import_module("selfloop.tasks")])
def test_type_checkers_see_the_names_that_are_imported_when_first_used(module):
    """They stand under TYPE_CHECKING, where a star is for all that a package names."""
    tree = ast.parse(inspect.getsource(module))
    (block,) = [one for one in tree.body if isinstance(one, ast.If) and ast.unparse(one.test) == "TYPE_CHECKING"]
    seen = {"__version__"} & set(module.__all__)
    for line in block.body:
        home = importlib.import_module(line.module)
        for alias in line.names:
            seen |= set(getattr(home, "__all__", ()) or home.WORDS) if alias.name == "*" else {alias.name}
    assert seen == set(module.__all__)
