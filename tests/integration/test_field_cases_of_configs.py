"""The cases of the field about configurations: what `thaw import-config` makes of them, and what messages say."""

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from field_cases import FieldCase

from orchestrator.spec.loading import load_trial
from search_spaces.shell import thaw_command

Case = Callable[[str], FieldCase]
IMPORT = ("import-config", "old.yaml", "--out", "new.yaml")


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("F02-import-freeze-epochs", {"strategy": "progressive", "unfreeze_epoch": 4, "epochs": 12, "lr": 2e-3}),
        ("F02b-import-freeze-backbone-epochs", {"strategy": "progressive", "unfreeze_epoch": 2, "epochs": 8}),
        ("F02c-import-unfreeze-layers", {"strategy": "partial", "trainable_stages": 1, "epochs": 8}),
        (
            "F05-import-timm-args",
            {
                "optimizer": "sgd",
                "scheduler": "step",
                "label_smoothing": 0.1,
                "random_erasing": 0.2,
                "lr": 0.05,
                "mixing": "mixup",
                "mixing_alpha": 0.4,
                "dropout": 0.1,
                "clip_norm": 1.0,
                "ema_decay": 0.999,
            },
        ),
        ("F07-import-head-and-backbone-lr", {"lr": 3e-4, "backbone_lr_factor": 0.1, "strategy": "full"}),
        (
            "P08-import-section-file",
            {
                "strategy": "progressive",
                "unfreeze_epoch": 6,
                "label_smoothing": 0.1,
                "dropout": 0.3,
                "clip_norm": 1.0,
                "patience": 12,
                "lr": 6e-4,
                "epochs": 20,
                "batch_size": 8,
            },
        ),
    ],
)
def test_an_old_configuration_keeps_its_decisions(field_case: Case, name: str, meant: dict[str, Any]) -> None:
    answer = field_case(name).thaw(*IMPORT)
    assert answer.code == 0, answer.text
    assert not {"freeze_epochs", "unfreeze_layers", "lr_head", "reprob"} & {*answer.text.split(" defaults taken")[0]}
    config = load_trial(Path("new.yaml"))
    assert {key: getattr(config, key) for key in meant} == meant


def test_every_word_of_timm_is_understood(field_case: Case) -> None:
    assert "not understood" not in field_case("F05-import-timm-args").thaw(*IMPORT).text


@pytest.mark.parametrize(
    ("name", "file", "words"),
    [
        ("F03-import-own-trial-file", "trial.yaml", ["a trial file of Thaw already", "`thaw trial trial.yaml`"]),
        ("F04-import-both-balances", "old.yaml", ["use_weighted_sampler and use_class_weight must not both be on"]),
    ],
)
def test_a_configuration_that_is_refused(field_case: Case, name: str, file: str, words: list[str]) -> None:
    answer = field_case(name).thaw("import-config", file, "--out", "new.yaml")
    assert answer.code == 2
    assert [word for word in words if word not in answer.text] == [], answer.text
    assert not Path("new.yaml").exists()


def test_a_reference_is_listed(field_case: Case) -> None:
    answer = field_case("F06-import-interpolation").thaw(*IMPORT)
    assert answer.code == 0, answer.text
    assert "data.root: ${oc.env:PHOTOS} (a reference, which only the other tool resolves; write its value out)" in (
        answer.text
    )
    config = load_trial(Path("new.yaml"))
    assert (config.data.root.name, config.epochs, config.optimizer, config.lr) == ("photos", 8, "sgd", 3e-3)


@pytest.mark.parametrize(
    ("name", "command", "words"),
    [
        ("F32-weights-imagenet", ("trial", "trial.yaml", "--out", "out"), ["weights: ", "did you mean pretrained?"]),
        (
            "F33-sweep-file-name-with-spaces",
            ("space", "my sweep (1).yaml"),
            ["that of the file names the run", "e.g. my-sweep-1: `name` in"],
        ),
        ("F41-trial-file-to-sweep", ("sweep", "trial.yaml"), ["got a trial's file", "`thaw trial trial.yaml`"]),
        ("F41-trial-file-to-sweep", ("space", "trial.yaml"), ["got a trial's file", "`thaw trial trial.yaml`"]),
        ("F41c-number-in-quotes", ("space", "s.yaml"), ["got '1e-4'; write them without quotes"]),
    ],
)
def test_a_message_names_what_is_meant(field_case: Case, name: str, command: tuple[str, ...], words: list[str]) -> None:
    answer = field_case(name).thaw(*command)
    assert answer.code == 2
    assert [word for word in words if word not in answer.text] == [], answer.text


def test_a_file_is_not_written_where_nothing_can_be(field_case: Case) -> None:
    """F28; the kernel's own file system takes the place of a disk that is mounted to be read."""
    answer = field_case("F28-init-where-nothing-can-be-written").thaw("init", "/proc/1/fd/none/sweep.yaml")
    assert answer.code == 2
    assert "FILE: must be writable, got /proc/1/fd/none/sweep.yaml: " in answer.text


def test_a_printed_command_is_one_for_a_shell(field_case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    """F34: the commands that a sweep prints at its end are those of this function; the file is looked at by `init`."""
    case = field_case("F34-printed-commands-unquoted")
    folder = case.folder / "Co & Co"
    assert shlex.split(thaw_command("export", folder / "runs" / "s")) == ["thaw", "export", f"{folder}/runs/s"]
    monkeypatch.chdir(folder)
    answer = case.thaw("init", f"{folder}/new.yaml", "--data", "photos")
    assert answer.code == 0
    assert shlex.quote(f"{folder}/new.yaml") in answer.err
