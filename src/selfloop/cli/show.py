"""``selfloop show``: what the compiler makes of a cell."""

from typing import Annotated

import typer

from selfloop.errors import ArgumentError


def show(
    cell: Annotated[str, typer.Argument(help="A cell of the zoo, or your own: FILE.py:NAME.")],
    level: Annotated[
        str, typer.Option(help="equations, graph, step, program, llvm or assembly.", show_default=True)
    ] = "equations",
    target: Annotated[
        str | None, typer.Option(help="The processor that llvm and assembly are for. [dim]\\[default: this one][/]")
    ] = None,
    sizes: Annotated[
        str | None, typer.Option(help="Sizes by name, as x=64,h=128. [dim]\\[default: 64 each][/]")
    ] = None,
) -> None:
    """Print a cell at any level, from its equations to machine code.

    [bold]Examples[/bold]

      selfloop show lstm

      selfloop show mine.py:cell --level program --sizes x=16,h=32

      selfloop show gru --level assembly --target neon
    """
    from selfloop.compiler import show
    from selfloop.tasks.choose_cell import find_cell

    typer.echo(show(find_cell(cell), level, target, _sizes(sizes or "")))


def _sizes(text: str) -> dict[str, int]:
    found = dict[str, int]()
    for part in filter(None, text.split(",")):
        name, _, number = part.partition("=")
        if not number.isdecimal() or int(number) < 1:
            raise ArgumentError(f"--sizes takes whole numbers by name, as x=64,h=128. Got '{text}' instead.")
        if name.strip() in found:
            raise ArgumentError(f"--sizes names '{name.strip()}' twice: give one number for it.")
        found[name.strip()] = int(number)
    return found
