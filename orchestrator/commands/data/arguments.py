"""Arguments and options that the commands on a data set share."""

from typing import Annotated, Any

import typer

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
    Any,
    typer.Option(
        parser=as_place,
        metavar="DIR",
        help="Folder of <architecture>.safetensors, or s3://..., as in data.weights_dir; without it, those in timm's "
        "hub cache.",
    ),
]
