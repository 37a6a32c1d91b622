"""``selfloop generate RUN``."""

import json
from typing import Annotated

import typer

from selfloop.errors import ArgumentError


def generate(
    run: Annotated[str, typer.Argument(help="The folder of a run, or its name on the hub.", show_default=False)],
    prompt: Annotated[
        list[str] | None, typer.Option(help="What the text begins with; repeat it for several texts at once.")
    ] = None,
    max_tokens: Annotated[int, typer.Option(min=1, help="How many tokens to write.")] = 500,
    temperature: Annotated[float, typer.Option(help="Below 1 is more careful, 0 always takes the likeliest.")] = 0.8,
    top_k: Annotated[int | None, typer.Option(help="Draw from the k likeliest tokens only.")] = None,
    top_p: Annotated[float | None, typer.Option(help="Draw from the likeliest that make up this share.")] = None,
    beam: Annotated[
        int | None, typer.Option(min=1, help="Search with this many hypotheses instead of drawing.")
    ] = None,
    length_penalty: Annotated[float, typer.Option(help="With --beam: above 0 favours longer texts.")] = 0.0,
    seed: Annotated[int | None, typer.Option(help="The same seed writes the same text.")] = None,
    cell: Annotated[str | None, typer.Option(help="The cell of a run that was trained with your own.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Let a language model write.

    [bold]Examples[/bold]

      selfloop generate runs/play --prompt "ROMEO:"

      selfloop generate runs/play --temperature 1 --top-p 0.95 --seed 7

      selfloop generate runs/play --prompt "To be" --beam 5 --max-tokens 60
    """
    from selfloop.decoding import Sampling
    from selfloop.tasks import load

    sampling = Sampling(temperature, top_k, top_p)
    if beam is not None and (top_k or top_p):
        raise ArgumentError("--beam searches and does not draw, so it does not go with --top-k or --top-p.")
    model = load(run, cell=cell)
    prompts = prompt or [""]
    if beam is not None:
        found = model.search(prompts, max_tokens=max_tokens, beam=beam, length_penalty=length_penalty)
        texts = [hypotheses[0][0] for hypotheses in found]
    elif len(prompts) == 1 and not as_json:
        typer.echo(prompts[0], nl=False)
        for piece in model.stream(prompts[0], max_tokens=max_tokens, sampling=sampling, seed=seed):
            typer.echo(piece, nl=False)
        typer.echo()
        return
    else:
        texts = model.write(prompts, max_tokens=max_tokens, sampling=sampling, seed=seed)
    for begin, text in zip(prompts, texts, strict=True):
        typer.echo(json.dumps({"prompt": begin, "text": text}, ensure_ascii=False) if as_json else begin + text + "\n")
