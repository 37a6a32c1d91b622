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


@train_app.command("label")
def train_label(
    data: Annotated[
        str | None,
        typer.Argument(
            help="JSONL with a video, an array, a series or words a line and a label a step; two columns of words and "
            "labels (TSV, CoNLL); or a folder of such files; without it, digits that move over a dark field.",
            show_default=False,
        ),
    ] = None,
    minutes: Minutes = None,
    epochs: Epochs = None,
    steps: Steps = None,
    run: RunFolder = None,
    resume: Resume = None,
    label: Annotated[
        str | None, typer.Option(help="The column with the labels; of words in columns, its number, from 1.")
    ] = None,
    ignore: Annotated[str | None, typer.Option(help="A label that is neither learnt nor judged.")] = None,
    one_way: Annotated[
        bool | None, typer.Option("--one-way", help="Read forwards alone, so that the model can stream.")
    ] = None,
    cell: CellName = None,
    precision: Precision = None,
    seed: Seed = None,
    skip_bad: SkipBad = None,
    config: ConfigFile = None,
    set: Assignments = None,
    as_json: AsJson = False,
) -> None:
    """Train a labeller: a sequence goes in, a label comes out at each of its steps.

    [bold]Examples[/bold]

      selfloop train label                                 moving digits, frame by frame

      selfloop train label treebank/ --minutes 10          words and their tags: train.tsv, dev.tsv, test.tsv

      selfloop train label clips.jsonl --set data.size=[48,64] --set data.fps=12

      selfloop train label clips.jsonl --one-way           a model that labels a camera as it runs
    """
    given = {
        "data.source": data,
        "data.label": label,
        "data.ignore": ignore,
        "data.skip_bad": skip_bad,
        "model.bidirectional": None if one_way is None else not one_way,
        "model.cell": cell,
        "training.precision": precision,
        "training.seed": seed,
        "training.minutes": minutes,
        "training.epochs": epochs,
        "training.steps": steps,
    }
    run_training("label", given, run=run, resume=resume, config=config, assignments=set, as_json=as_json)


@train_app.command("translate")
def train_translate(
    data: Annotated[
        str | None,
        typer.Argument(
            metavar="SOURCE",
            help="A text file, a sentence a line, plain or .gz; or a table (TSV, CSV, JSONL, Parquet) with a column a "
            "language; or a name on the Hugging Face hub; without it, dates from English to Hungarian.",
            show_default=False,
        ),
    ] = None,
    target: Annotated[
        str | None,
        typer.Argument(metavar="TARGET", help="The file of translations, line by line.", show_default=False),
    ] = None,
    minutes: Minutes = None,
    epochs: Epochs = None,
    steps: Steps = None,
    run: RunFolder = None,
    resume: Resume = None,
    valid: Annotated[
        str | None, typer.Option(help="Sentences to choose the best weights by. [dim]A part of the data.[/]")
    ] = None,
    valid_target: Annotated[str | None, typer.Option(help="Their translations.")] = None,
    test: Annotated[str | None, typer.Option(help="Sentences to report on.")] = None,
    test_target: Annotated[str | None, typer.Option(help="Their translations.")] = None,
    source_column: Annotated[
        str | None, typer.Option(help="The column of a table with the source. [dim]Found by its name.[/]")
    ] = None,
    target_column: Annotated[
        str | None, typer.Option(help="The column with the target. [dim]Found by its name.[/]")
    ] = None,
    tokenizer: Annotated[str | None, typer.Option(help="bpe, word, char or byte. [dim]bpe[/]")] = None,
    lowercase: Annotated[bool | None, typer.Option("--lowercase", help="Ignore case, in BLEU too.")] = None,
    attention: Annotated[str | None, typer.Option(help="general, dot, additive or none. [dim]general[/]")] = None,
    cell: CellName = None,
    precision: Precision = None,
    seed: Seed = None,
    skip_bad: SkipBad = None,
    config: ConfigFile = None,
    set: Assignments = None,
    as_json: AsJson = False,
) -> None:
    """Train a translator: a text goes in, and when it is read, another comes out.

    [bold]Examples[/bold]

      selfloop train translate                             dates, from English to Hungarian

      selfloop train translate train.en train.de --minutes 60

      selfloop train translate train.en.gz train.de.gz --valid val.en.gz --valid-target val.de.gz

      selfloop train translate pairs.tsv --source-column en --target-column de

      selfloop train translate pairs.tsv --attention additive --set decoding.beam=10
    """
    given = {
        "data.source": data,
        "data.target": target,
        "data.valid": valid,
        "data.valid_target": valid_target,
        "data.test": test,
        "data.test_target": test_target,
        "data.source_column": source_column,
        "data.target_column": target_column,
        "data.tokenizer": tokenizer,
        "data.lowercase": lowercase,
        "data.skip_bad": skip_bad,
        "model.attention": attention,
        "model.cell": cell,
        "training.precision": precision,
        "training.seed": seed,
        "training.minutes": minutes,
        "training.epochs": epochs,
        "training.steps": steps,
    }
    run_training("translate", given, run=run, resume=resume, config=config, assignments=set, as_json=as_json)


@train_app.command("caption")
def train_caption(
    data: Annotated[
        str | None,
        typer.Argument(
            help="A folder of images with metadata.jsonl, with a table (CSV, TSV, Parquet) of images and captions, or "
            "with a list as Flickr8k's; such a file itself; a name on the Hugging Face hub; without it, drawn scenes.",
            show_default=False,
        ),
    ] = None,
    minutes: Minutes = None,
    epochs: Epochs = None,
    steps: Steps = None,
    run: RunFolder = None,
    resume: Resume = None,
    images: Annotated[
        str | None, typer.Option(help="The folder or .zip of the images. [dim]Where their list is.[/]")
    ] = None,
    image: Annotated[
        str | None, typer.Option(help="The column with the image's name. [dim]Found by its name.[/]")
    ] = None,
    caption: Annotated[
        str | None, typer.Option(help="The column with a caption, or a list. [dim]Found by its name.[/]")
    ] = None,
    encoder: Annotated[
        str | None,
        typer.Option(
            help="Of images: small, which is trained; efficientnet-lite0 or timm:NAME, which know photographs already; "
            "or your own: FILE.py:NAME. [dim]small[/]"
        ),
    ] = None,
    condition: Annotated[
        str | None, typer.Option(help="How the image is told: attend, state or input. [dim]attend[/]")
    ] = None,
    cell: CellName = None,
    precision: Precision = None,
    seed: Seed = None,
    skip_bad: SkipBad = None,
    config: ConfigFile = None,
    set: Assignments = None,
    as_json: AsJson = False,
) -> None:
    """Train a captioner: an image goes in, a sentence about it comes out.

    [bold]Examples[/bold]

      selfloop train caption                               drawn scenes of coloured shapes

      selfloop train caption photos/ --encoder efficientnet-lite0 --minutes 30

      selfloop train caption captions.csv --images photos.zip --encoder timm:resnet18

      selfloop train caption drawings/ --condition input --set decoding.beam=10

      selfloop train caption photos/ --set model.scheduled_sampling=0.2
    """
    given = {
        "data.source": data,
        "data.images": images,
        "data.image": image,
        "data.caption": caption,
        "data.skip_bad": skip_bad,
        "model.encoder": encoder,
        "model.condition": condition,
        "model.cell": cell,
        "training.precision": precision,
        "training.seed": seed,
        "training.minutes": minutes,
        "training.epochs": epochs,
        "training.steps": steps,
    }
    run_training("caption", given, run=run, resume=resume, config=config, assignments=set, as_json=as_json)
