"""Arguments and options that the commands on a data set share."""

from pathlib import Path
from typing import Annotated, Any

import typer

from search_spaces.paths import as_path
from trainables.storage.place import as_place

NamedDataArgument = Annotated[
    Any,
    typer.Argument(
        parser=as_place,
        metavar="DATA",
        help="Photos: a folder, a manifest (CSV, TSV), a Parquet file or tar shard, or s3://...; or a sweep file, of "
        "which `data` counts.",
    ),
]
RootOption = Annotated[
    Any,
    typer.Option(
        parser=as_place, metavar="DIR", help="The folder that the paths of a manifest begin in; by default its own."
    ),
]
WeightsOption = Annotated[
    Path | None,
    typer.Option(
        parser=as_path,
        metavar="DIR",
        help="Folder of <architecture>.safetensors, as in data.weights_dir; without it, those in timm's hub cache.",
    ),
]
