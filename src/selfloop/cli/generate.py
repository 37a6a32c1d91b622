"""``selfloop generate RUN``."""

import json
from typing import Annotated

import typer

from selfloop.cli.open_run import OwnCell
from selfloop.errors import ArgumentError, together


def generate(
    run: Annotated[str, typer.Argument(help="The folder of a run, or its name on the hub.", show_default=False)],
    prompt: Annotated[
        list[str] | None, typer.Option(help="What the text begins with; may be repeated, for several texts.")
    ] = None,
    max_tokens: Annotated[int, typer.Option(min=1, help="How many tokens to write.")] = 500,
    temperature: Annotated[
        float | None,
        typer.Option(help="Below 1 is more careful, 0 always takes the likeliest. [dim]\\[default: 0.8][/]"),
    ] = None,
    top_k: Annotated[int | None, typer.Option(help="Draw from the k likeliest tokens only.")] = None,
    top_p: Annotated[
        float | None, typer.Option(help="Draw from the likeliest tokens only, which together have this probability.")
    ] = None,
    seed: Annotated[
        int | None, typer.Option(help="The same seed writes the same text. [dim]\\[default: another each time][/]")
    ] = None,
    beam: Annotated[
        int | None,
        typer.Option(min=1, help="Search for the likeliest text with so many hypotheses, instead of drawing."),
    ] = None,
    cell: OwnCell = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print a line of JSON for each text.")] = False,
) -> None:
    """Write text with a language model, which is a run of lm.

    [bold]Examples[/bold]

      selfloop generate runs/play --prompt "ROMEO:"

      selfloop generate runs/play --temperature 1 --top-p 0.95 --seed 7

      selfloop generate runs/play --prompt "To be" --beam 5 --max-tokens 60
    """
    from selfloop.cli.open_run import open_for
    from selfloop.decoding import Sampling
    from selfloop.tasks.predictor import Generates

    drawing = {"--temperature": temperature, "--top-k": top_k, "--top-p": top_p, "--seed": seed}
    given = [name for name, value in drawing.items() if value is not None]
    if beam is not None and given:
        raise ArgumentError(f"--beam searches and does not draw, so it does not go with {together(given)}.")
    sampling = Sampling(0.8 if temperature is None else temperature, top_k, top_p)
    model = open_for("generate", Generates, run, cell=cell)
    prompts = prompt or [""]
    if beam is None and len(prompts) == 1 and not as_json:
        pieces = model.stream(prompts[0], max_tokens=max_tokens, sampling=sampling, seed=seed)
        typer.echo(prompts[0], nl=False)
        for piece in pieces:
            typer.echo(piece, nl=False)
        typer.echo()
        return
    if beam is None:
        texts = model.write(prompts, max_tokens=max_tokens, sampling=sampling, seed=seed)
    else:
        found = model.search(prompts, max_tokens=max_tokens, beam=beam)
        texts = [hypotheses[0][0] for hypotheses in found]
    pairs = list(zip(prompts, texts, strict=True))
    if as_json:
        for begin, text in pairs:
            typer.echo(json.dumps({"prompt": begin, "text": text}, ensure_ascii=False))
    else:
        typer.echo("\n\n".join(begin + text for begin, text in pairs))
