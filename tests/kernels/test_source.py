"""What the source of kernels has to look like: short lists of arguments, constants with units."""

from __future__ import annotations

import ast
import functools
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import selfdrive_env

KERNELS = Path(selfdrive_env.__file__).parent / "kernels"
MAX_ARGUMENTS = 12
UNEXPLAINED = 8
"""Functions of more arguments say in `Args` what each is."""

UNIT = re.compile(r"\[[^\]]+\]")

NUMBERS = re.compile(
    r"(ZERO|QUARTER|HALF|ONE|TWO|THREE|FOUR|EIGHT|MINUS_TWO|THREE_HALVES|TWO_OVER_PI|PER_PI|TINY|HUGE"
    r"|[A-Z]\d|.*_COS|TO_UNIT|.*_TURN(_HIGH|_LOW)?|.*LOG_2.*|ROOT_HALF|BIAS.*)"
)
"""Names that are numbers, angles of a turn or cosines, and need no unit."""


@functools.cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def modules() -> list[Path]:
    return sorted(KERNELS.rglob("*.py"))


def functions(path: Path) -> Iterator[ast.FunctionDef]:
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.FunctionDef):
            yield node


def argument_names(function: ast.FunctionDef) -> list[str]:
    arguments = function.args
    assert not (arguments.vararg or arguments.kwarg or arguments.kwonlyargs), function.name
    return [argument.arg for argument in arguments.posonlyargs + arguments.args]


def test_no_function_takes_more_than_twelve_arguments() -> None:
    counts = {
        f"{path.relative_to(KERNELS)}:{function.name}": len(argument_names(function))
        for path in modules()
        for function in functions(path)
    }
    assert len(counts) > 150
    assert {name: count for name, count in counts.items() if count > MAX_ARGUMENTS} == {}


def test_functions_of_many_arguments_explain_each() -> None:
    unexplained = []
    for path in modules():
        for function in functions(path):
            names = argument_names(function)
            text = ast.get_docstring(function) or ""
            _, _, explained = text.partition("Args:\n")
            missing = [name for name in names if not re.search(rf"^ +{name}: ", explained, re.M)]
            if len(names) > UNEXPLAINED and missing:
                unexplained.append(f"{path.relative_to(KERNELS)}:{function.name} {missing}")
    assert unexplained == []


def constants(path: Path) -> Iterator[tuple[str, str]]:
    """Names of the single-precision constants of a module, and what is said of each."""
    lines = path.read_text().splitlines()
    body = tree_of(path).body
    for node, after in zip(body, [*body[1:], None], strict=True):
        if not isinstance(node, ast.Assign) or "np.float32(" not in ast.unparse(node.value):
            continue
        assert node.end_lineno is not None
        said = lines[node.end_lineno - 1].partition("#")[2]
        if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant):
            said += str(after.value.value)
        for target in ast.walk(node.targets[0]):
            if isinstance(target, ast.Name):
                yield target.id, said


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(KERNELS)))
def test_every_constant_has_a_unit_or_says_what_it_is_a_share_of(path: Path) -> None:
    bare = [name for name, said in constants(path) if not said and not NUMBERS.fullmatch(name)]
    assert bare == []


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(KERNELS)))
def test_numbers_in_functions_have_a_name(path: Path) -> None:
    """`np.float32(0.3)` within a function says nothing of its unit."""
    found = [
        f"{function.name}: {ast.unparse(call)}"
        for function in functions(path)
        for call in ast.walk(function)
        if isinstance(call, ast.Call)
        and ast.unparse(call.func) == "np.float32"
        and isinstance(call.args[0], ast.Constant)
    ]
    assert found == []
