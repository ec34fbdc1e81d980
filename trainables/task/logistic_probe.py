"""Logistic probe: a regularized logistic regression on frozen features, its strength chosen by folds of them.

The features are centered and divided by one number, their standard deviation over all dimensions, so that a strength
means the same for every architecture, while their dimensions keep their proportions.
"""

import hashlib
import warnings
from typing import Any

import numpy as np
import numpy.typing as npt
import sklearn
from scipy.special import log_softmax
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold

FOLDS = 5
"""Parts of the rows that are held out in turn; fewer where all classes but one have fewer rows."""

STRENGTHS = tuple(float(strength) for strength in 10.0 ** np.arange(-5, 3))
"""scikit-learn's C, from strong regularization to weak."""

STRENGTH_ROWS = 10_000
"""Rows on which the strength is chosen, at most; the head is then fitted on all."""

_USUAL = 1.0  # scikit-learn's default, where nothing can be held out
_ITERATIONS = 500
_ROUGH = 1e-3  # tolerance where only the losses of two strengths are compared

Rows = npt.NDArray[np.float64]


class LogisticProbe:
    """Multinomial logistic regression with an L2 penalty on its weights, each sample weighted as in training."""

    def __init__(self, labels: npt.NDArray[np.int64], classes: int, weights: npt.NDArray[np.float64]) -> None:
        """`labels` (n,) are those of the training split, `weights` (classes,) those of the classes in the loss."""
        self.labels = labels
        self.classes = classes
        self.weights = weights

    @property
    def outputs(self) -> int:
        """Rows of the head."""
        return self.classes

    @property
    def identity(self) -> dict[str, Any]:
        """All that decides the fit beside the features."""
        labels = hashlib.sha256(self.labels.astype("<i8").tobytes()).hexdigest()
        settings = {"folds": FOLDS, "strengths": STRENGTHS, "rows": STRENGTH_ROWS}
        settings |= {"iterations": _ITERATIONS, "tolerance": _ROUGH}
        versions = {"sklearn": sklearn.__version__}
        return {"labels": labels, "classes": self.classes, "weights": [*self.weights], **settings, **versions}

    def fit(self, features: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Fit features (n, d) of the training split: weights and, last, bias of each class, (classes, d + 1).

        A class without samples gets the least bias of all, and no weights.
        """
        rows = features.astype(np.float64)
        center, scale = rows.mean(axis=0), float(rows.std(axis=0).mean()) or 1.0
        rows -= center
        rows /= scale
        fitted = self._regression(self._strength(rows))
        self._fit(fitted, rows, self.labels)
        head = _all_classes(fitted, self.classes)
        head[:, :-1] /= scale
        head[:, -1] -= head[:, :-1] @ center
        return head.astype(np.float32)

    def _strength(self, rows: Rows) -> float:
        """Choose the strength of the least loss on the folds: the path from strong to weak ends where it rises."""
        folds = self._folds()
        if not folds:
            return _USUAL
        models = [self._regression(STRENGTHS[0], warm_start=True, tol=_ROUGH) for _ in folds]
        best, least = STRENGTHS[0], np.inf
        for strength in STRENGTHS:
            loss = 0.0
            for model, (train, held) in zip(models, folds, strict=True):
                model.C = strength
                self._fit(model, rows[train], self.labels[train])
                loss += self._loss(model, rows[held], self.labels[held])
            if loss >= least:
                break
            best, least = strength, loss
        return best

    def _folds(self) -> list[tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]]:
        """Rows to fit and rows held out; those of a class with fewer rows than there are folds are never held out."""
        chosen = np.arange(len(self.labels))
        if len(chosen) > STRENGTH_ROWS:
            chosen = np.sort(np.random.default_rng(0).choice(chosen, STRENGTH_ROWS, replace=False))
        counts = np.bincount(self.labels[chosen], minlength=self.classes)
        folds = min(FOLDS, int(np.sort(counts)[-2]))
        if folds < 2:
            return []
        divided = chosen[counts[self.labels[chosen]] >= folds]
        parts = StratifiedKFold(folds, shuffle=True, random_state=0).split(divided, self.labels[divided])
        return [(np.setdiff1d(chosen, divided[held]), divided[held]) for _, held in parts]

    @staticmethod
    def _regression(strength: float, **settings: Any) -> LogisticRegression:
        return LogisticRegression(C=strength, max_iter=_ITERATIONS, **settings)

    def _fit(self, model: LogisticRegression, rows: Rows, labels: npt.NDArray[np.int64]) -> None:
        with warnings.catch_warnings():
            # What is not quite at its optimum is a start as good as the optimum.
            warnings.simplefilter("ignore", ConvergenceWarning)
            model.fit(rows, labels, sample_weight=self.weights[labels])

    def _loss(self, model: LogisticRegression, rows: Rows, labels: npt.NDArray[np.int64]) -> float:
        head = _all_classes(model, self.classes)
        losses = -log_softmax(rows @ head[:, :-1].T + head[:, -1], axis=1)[np.arange(len(labels)), labels]
        return float(np.average(losses, weights=self.weights[labels]) if self.weights[labels].any() else losses.mean())


def _all_classes(model: LogisticRegression, classes: int) -> Rows:
    """Return weights and, last, bias of each class, (classes, d + 1), from a regression that may lack some."""
    own = np.column_stack([model.coef_, model.intercept_])
    if len(own) == 1:  # two classes are one sigmoid, whose logit is the difference of two
        own = np.concatenate([-own, own]) / 2
    head = np.zeros((classes, own.shape[1]))
    head[:, -1] = own[:, -1].min()
    head[model.classes_] = own
    return head
