"""Panels of photos: what the winner gets wrong with confidence, and labels at which all trials hesitate."""

import io
from pathlib import Path

import numpy as np
import numpy.typing as npt

from analysis.comparisons.folds import kind_of_images
from analysis.predictions import read_predictions
from analysis.report.panel import Panel, Photo, RunData
from analysis.run_store import RunStore
from search_spaces.errors import InvalidInput
from search_spaces.user_files import IMAGE, read_user_file
from trainables.data.decode import decode
from trainables.data.sources.node_copy import newest_copy
from trainables.storage.folders import cache_folder

_SHOWN = 12
# On a screen with two pixels for each of the page's 96.
_PIXELS = 192
# Of fewer trials, one of which may have seen nothing yet, no opinion is formed.
_TRIALS = 3
# More than these add little to a mean, and each is a file to read.
_MOST_TRIALS = 50


def mistakes(data: RunData) -> Panel | None:
    """Validation images that the winner labels wrongly, the most confident first."""
    if data.winner is None:
        return None
    found = _Predictions.of(data, data.winner.trial.trial_id)
    if found is None:
        return None
    wrong = np.flatnonzero(found.labels != found.predicted)
    shown = wrong[np.argsort(-found.confidence[wrong], kind="stable")][:_SHOWN]
    if not len(shown):
        return None
    photos = [
        _photo(data, found.paths[i], f"{found.labels[i]}, taken for {found.predicted[i]} ({sure} %)")
        for i in shown
        for sure in [round(100 * found.confidence[i])]
    ]
    kind = kind_of_images(data.winner.trial)
    note = f"The winner gives {len(wrong)} of {len(found.paths)} {kind} images another class than their label; "
    note += "those where it is most sure. Look for what they have in common."
    return Panel("mistakes", "Most confident mistakes", note, tuple(photos))


def doubtful_labels(data: RunData) -> Panel | None:
    """Validation images to whose label the trials together give the least probability."""
    names = [entry.trial.trial_id for entry in data.judged if entry.rank is not None][:_MOST_TRIALS]
    found = [each for each in (_Predictions.of(data, name) for name in names) if each is not None]
    found = [each for each in found if each.same_images(found[0])]
    if len(found) < _TRIALS:
        return None
    first, given = found[0], np.mean([each.given for each in found], axis=0)
    agree = np.mean([each.predicted == first.labels for each in found], axis=0)
    order = np.argsort(given, kind="stable")
    shown = [index for index in order if agree[index] < 0.5][:_SHOWN]
    if not shown:
        return None
    photos = [
        _photo(data, first.paths[i], f"{first.labels[i]}; {against} of {len(found)} trials say otherwise")
        for i in shown
        for against in [round((1 - agree[i]) * len(found))]
    ]
    note = f"{len(found)} trials, none trained on these images, give their labels the least probability. A label may "
    note += "be right and the photo hard: look before changing anything."
    return Panel("labels", "Labels to look at first", note, tuple(photos))


class _Predictions:
    """_Predictions: what one trial says of each validation image."""

    def __init__(
        self, paths: list[str], labels: list[str], predicted: list[str], classes: list[str], p: npt.NDArray[np.float64]
    ) -> None:
        """Keep the columns; `p` are probabilities (images, classes)."""
        self.paths = paths
        self.labels = np.array(labels, dtype=object)
        self.predicted = np.array(predicted, dtype=object)
        numbers = {name: number for number, name in enumerate(classes)}
        rows = np.arange(len(paths))
        self.confidence = p[rows, [numbers[name] for name in predicted]]
        self.given = p[rows, [numbers[name] for name in labels]]

    @classmethod
    def of(cls, data: RunData, trial_id: str) -> "_Predictions | None":
        """Read the file of a trial; None where there is none, or its task has no classes."""
        store = RunStore(data.run)
        place = store.newest(lambda layer: layer.predictions(trial_id))
        table = read_predictions(store, place, ("path", "label", "predicted"))
        if table is None or not len(table):
            return None
        columns = [name for name in table.column_names if name.startswith("p(") and name.endswith(")")]
        classes = [name[2:-1] for name in columns]
        paths, labels, predicted = (table[name].to_pylist() for name in ("path", "label", "predicted"))
        if not {*labels, *predicted} <= {*classes}:
            return None
        p = np.stack([table[name].to_numpy().astype(np.float64) for name in columns], axis=1)
        return cls(paths, labels, predicted, classes, p)

    def same_images(self, other: "_Predictions") -> bool:
        """Return whether both speak of the same images with the same labels."""
        return self.paths == other.paths and np.array_equal(self.labels, other.labels)


def _photo(data: RunData, path: str, caption: str) -> Photo:
    trained = data.board.entries[0].trial.config.data
    copy = newest_copy(cache_folder(data.run.cache), trained.root)  # of a bucket or a container
    root = copy if copy is not None else trained.root
    if not isinstance(root, Path):
        return Photo(path, caption, None)
    try:
        image = decode(read_user_file(root / path, IMAGE), path, trained.max_pixels)
    except (OSError, InvalidInput):
        return Photo(path, caption, None)
    image.thumbnail((_PIXELS, _PIXELS))
    file = io.BytesIO()
    image.save(file, format="JPEG", quality=70)
    return Photo(path, caption, file.getvalue())
