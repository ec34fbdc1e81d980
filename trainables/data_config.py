"""DataConfig: the images that a trial sees, and what is done to each before anything else."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from search_spaces.none_and_auto import OrNone
from search_spaces.validation import Frozen
from trainables.storage.place import Place

ResizeMode = Literal["crop", "squash", "pad"]


DataFormat = Literal["auto", "folders", "manifest", "huggingface", "parquet", "webdataset"]


class TrainedOn(StrEnum):
    """Images that are trained on."""

    TRAIN = "train"
    TRAIN_AND_VAL = "train+val"


DEFAULT_MAX_PIXELS = 89_478_485
"""Pillow's own limit for an image that is safe to decode: 256 MiB of RGB."""


class SplitShares(Frozen):
    """Shares of each class in a data set that is not split yet; what they leave is train."""

    val: float = Field(default=0.15, ge=0, lt=1)
    """Share of val; 0 beside `data.folds` alone, where it is the default."""

    test: float = Field(default=0.0, ge=0, lt=1)
    """Share of test; 0 where there is a test already, or none is wanted."""

    seed: int = Field(default=42, ge=0, le=2**32 - 1)
    """Seed of the assignment, which is the same on every machine."""

    together: Literal["near_duplicates", "equal_files"] = "equal_files"
    """near_duplicates: images that look alike go to one split, across classes too, and so do equal files; equal_files:
    equal files of one class alone. A file that leaves it out says near_duplicates; runs begun before, equal_files."""

    group_by: str | None = None
    """Images that go to one split too, those of a patient or a scene: a column of the manifest, or a regular expression
    whose one group is found in the name of the file, as `patient(\\d+)_`; in the whole path where it has a slash."""

    @model_validator(mode="after")
    def _leave_train(self) -> Self:
        if self.val + self.test >= 1:
            raise ValueError(f"val and test must leave images to train, got {self.val:g} and {self.test:g}; lower one")
        return self


class DataConfig(Frozen):
    """Which photos, and the size they are brought to before anything else sees them."""

    root: Place
    """Folder with the photos: `train/ val/ test/`, each holding one folder per class, or another `format`; the base of
    the paths of a manifest. `s3://bucket/prefix`: fetched once per node into `storage.cache_dir`."""

    manifest: Place | None = None
    """CSV or TSV file with the columns path, label, split; replaces the folder layout. It may lie in a bucket."""

    format: DataFormat = "auto"
    """Format of the photos: folders; manifest; huggingface, an image folder with `metadata.csv` or `metadata.jsonl`;
    parquet, Hugging Face's files; webdataset, tar shards. auto: manifest where one is given; Parquet or tar where no
    image lies beside them; folders of classes where they can be read; huggingface where only that is left."""

    split: SplitShares | None = None
    """Division of photos that are not split: of a folder with one folder per class, of a folder or manifest without
    val, or of a manifest without splits."""

    folds: OrNone[Annotated[int, Field(ge=2, le=20)]] = None
    """Cross-validation of heads on small sets: the images of train and val, or those of no split, are divided into so
    many folds, and a trial trains one head per fold on the others. none: no folds."""

    train_on: TrainedOn = TrainedOn.TRAIN
    """train+val: the images of val are trained on too, and the values of val say nothing; see `thaw retrain --on`."""

    test: Literal["auto", "none"] = "auto"
    """auto: the split test where the data set has one; none: it is left out, e.g. where its images have no labels."""

    image_size: int = Field(default=224, ge=16, le=1024)
    """Side of the square the model sees, in pixels."""

    resize_mode: ResizeMode = "crop"
    """crop: shorter side resized, center kept; squash: aspect ratio ignored; pad: longer side resized, rest gray."""

    on_bad_image: Literal["fail", "skip"] = "fail"
    """fail: images that cannot be decoded are named, and nothing is trained; skip: they are left out of training and
    measuring, and stand in the run's record."""

    max_pixels: int = Field(default=DEFAULT_MAX_PIXELS, ge=1, le=2_000_000_000)
    """Largest number of pixels to which an image is decoded, at 4 bytes of memory each. A larger JPEG is decoded at
    1/2, 1/4 or 1/8 of its width and height; a larger progressive JPEG, or image of another format, is a bad image."""

    allow: tuple[Literal["duplicates"], ...] = ()
    """Findings with which a sweep may begin. duplicates: the same bytes in two splits or under two labels; leaderboard,
    report and model card name them."""

    weights_dir: Place | None = None
    """Folder of `<architecture>.safetensors` in timm's key layout, read in place of timm's hub. `s3://bucket/prefix`:
    those that are needed are fetched once per node into `storage.cache_dir`."""

    @model_validator(mode="before")
    @classmethod
    def _folds_take_no_val(cls, values: Any) -> Any:
        if not isinstance(values, Mapping) or values.get("folds") in (None, "none"):
            return values
        split = values.get("split")
        return {**values, "split": {"val": 0.0, **split}} if isinstance(split, Mapping) else values

    @model_validator(mode="after")
    def _val_has_one_meaning(self) -> Self:
        if self.split is None:
            return self
        if self.folds is None and not self.split.val:
            raise ValueError(
                "split.val must be above 0 without folds, got 0; leave it out, or set e.g. `data.folds: 5`"
            )
        if self.folds is not None and self.split.val:
            raise ValueError(
                f"split.val must be left out beside folds, which hold out each image once, got {self.split.val:g}; "
                "remove it, or data.folds"
            )
        return self

    @model_validator(mode="after")
    def _loses_no_images(self) -> Self:
        if self.test == "none" and self.split is not None and self.split.test:
            raise ValueError(
                f"split.test must be left out where test is none, got {self.split.test:g}: those images would be in no "
                "split"
            )
        return self

    @model_validator(mode="after")
    def _manifest_is_its_format(self) -> Self:
        if (self.manifest is None) == (self.format == "manifest") and self.format != "auto":
            got = "got none; name the file" if self.manifest is None else f"got {self.format}; remove one of them"
            raise ValueError(f"data.format manifest and data.manifest must stand together, {got}")
        return self

    @property
    def splits(self) -> tuple[str, ...]:
        """The splits that are used, where the data set has them."""
        return ("train", "val", "test") if self.test == "auto" else ("train", "val")

    @property
    def folds_trained(self) -> int | None:
        """Number of folds that a trial trains on; None without folds, and where all of them are trained on at once."""
        return self.folds if self.train_on is TrainedOn.TRAIN else None
