"""Predictions of a run: columns of the files that its trials leave, wherever they lie."""

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.parquet as pq

from analysis.run_store import RunStore
from search_spaces.errors import InvalidInput, StorageFailed
from search_spaces.user_files import RUN_FILE, open_user_file
from trainables.storage.place import Place


def read_predictions(store: RunStore, place: Place, columns: Sequence[str]) -> pa.Table | None:
    """Return the table of a file of predictions; None where it is missing, damaged or lacks one of the columns."""
    try:
        # Opened here: Arrow takes no path that is not UTF-8.
        with store.reading(place) as path, open_user_file(path, RUN_FILE) as file:
            table = pq.ParquetFile(file).read()  # `read_table` imports pandas
    # Also where a bucket does not answer.
    except (OSError, pa.ArrowException, InvalidInput, StorageFailed):
        return None
    return table if set(columns) <= set(table.column_names) else None


def output_classes(table: pa.Table) -> list[str]:
    """Return the classes in the order of the model's outputs; none for a task without probabilities of classes."""
    return [name[2:-1] for name in table.column_names if name.startswith("p(") and name.endswith(")")]
