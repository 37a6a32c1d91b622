"""``selfloop train TASK``: a task a command, each with the options that matter most to it."""

from typing import Annotated

import typer

from selfloop.cli.training import (
    AsJson,
    Assignments,
    CellName,
    ConfigFile,
    Epochs,
    Minutes,
    Precision,
    Resume,
    RunFolder,
    Seed,
    SkipBad,
    Steps,
    run_training,
)

train_app = typer.Typer(no_args_is_help=True, rich_markup_mode="rich", help="Train a model on your own data.")


@train_app.command("lm")
def train_lm(
    data: Annotated[
        str | None,
        typer.Argument(
            help="A text file, a folder, a JSONL, CSV or Parquet file, or a name on the Hugging Face hub; "
            "without it, the language reference that ships inside Python.",
            show_default=False,
        ),
    ] = None,
    minutes: Minutes = None,
    epochs: Epochs = None,
    steps: Steps = None,
    run: RunFolder = None,
    resume: Resume = None,
    tokenizer: Annotated[str | None, typer.Option(help="char, byte, word or bpe. [dim]char[/]")] = None,
    column: Annotated[str | None, typer.Option(help="The column with the text, in JSONL, CSV or Parquet.")] = None,
    cell: CellName = None,
    precision: Precision = None,
    seed: Seed = None,
    config: ConfigFile = None,
    set: Assignments = None,
    as_json: AsJson = False,
) -> None:
    """Train a language model: at every step it predicts the next token.

    [bold]Examples[/bold]

      selfloop train lm                                    the text inside Python

      selfloop train lm play.txt --minutes 3               characters of your own text

      selfloop train lm books/ --tokenizer bpe --epochs 5  a folder, byte-pair encoding

      selfloop train lm tweets.jsonl --column body         one column of a table

      selfloop train lm play.txt --set model.hidden_size=256 --set training.learning_rate=0.003

      selfloop train lm --resume runs/play                 go on after a stop
    """
    given = {
        "data.source": data,
        "data.tokenizer": tokenizer,
        "data.column": column,
        "model.cell": cell,
        "training.precision": precision,
        "training.seed": seed,
        "training.minutes": minutes,
        "training.epochs": epochs,
        "training.steps": steps,
    }
    run_training("lm", given, run=run, resume=resume, config=config, assignments=set, as_json=as_json)


@train_app.command("classify")
def train_classify(
    data: Annotated[
        str | None,
        typer.Argument(
            help="A table (CSV, TSV, JSONL, Parquet) of texts or series with their class; a folder with a sub-folder a "
            "class, or a text file a class; .npz, .ts or idx files; or a name on the Hugging Face hub; without it, "
            "scikit-learn's digits, pixel by pixel.",
            show_default=False,
        ),
    ] = None,
    minutes: Minutes = None,
    epochs: Epochs = None,
    steps: Steps = None,
    run: RunFolder = None,
    resume: Resume = None,
    label: Annotated[str | None, typer.Option(help="The column with the class. [dim]Found by its name.[/]")] = None,
    input: Annotated[
        str | None, typer.Option(help="The column with the text, the series or a path. [dim]Found by its name.[/]")
    ] = None,
    scan: Annotated[str | None, typer.Option(help="An image's step: pixels or rows. [dim]pixels[/]")] = None,
    tokenizer: Annotated[str | None, typer.Option(help="Of text: char, byte, word or bpe. [dim]char[/]")] = None,
    cell: CellName = None,
    precision: Precision = None,
    seed: Seed = None,
    skip_bad: SkipBad = None,
    config: ConfigFile = None,
    set: Assignments = None,
    as_json: AsJson = False,
) -> None:
    """Train a classifier: a text, a series or an image goes in, one of several classes comes out.

    [bold]Examples[/bold]

      selfloop train classify                              handwritten digits, pixel by pixel

      selfloop train classify reviews.csv --minutes 5      a table of texts with their class

      selfloop train classify names/                       a text file a class, an example a line

      selfloop train classify walks/ --set model.bidirectional=true --set model.pooling=attention

      selfloop train classify mnist/ --scan rows           images, a row of pixels a step
    """
    given = {
        "data.source": data,
        "data.label": label,
        "data.input": input,
        "data.scan": scan,
        "data.tokenizer": tokenizer,
        "data.skip_bad": skip_bad,
        "model.cell": cell,
        "training.precision": precision,
        "training.seed": seed,
        "training.minutes": minutes,
        "training.epochs": epochs,
        "training.steps": steps,
    }
    run_training("classify", given, run=run, resume=resume, config=config, assignments=set, as_json=as_json)
