import json
import signal
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis import ledger as ledger_module
from analysis.ledger import Ledger, RunRecord, WatchedLedger
from analysis.run_folder import RunFolder
from search_spaces.errors import InvalidInput
from trainables.config import Objective, TrialConfig
from trainables.result import SCHEMA_VERSION, EpochReport, Failure, TrialResult
from trainables.status import Status
from trainables.task_catalog import metrics_of

CONFIG = TrialConfig.model_validate(
    {"data": {"root": "data"}, "architecture": "resnet18", "strategy": "head", "epochs": 3, "lr": 0.01}
)

words = st.text(max_size=20)  # hypothesis' text has no surrogates; test_file_names_that_are_not_utf8 does
finite = st.floats(allow_nan=False, allow_infinity=False)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | finite | words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
    max_leaves=5,
)
reports = st.builds(
    EpochReport,
    epoch=st.integers(1, 99),
    metrics=st.fixed_dictionaries(dict.fromkeys(metrics_of("classification"), finite)),
    seconds=st.floats(0, 1e6),
    checkpoint=st.sampled_from(["best", "last"]),
    ended_by=st.sampled_from([None, "budget", "patience", "target"]),
)
results = st.builds(
    TrialResult,
    trial_id=st.from_regex(r"[0-9]{4}", fullmatch=True),
    config=st.just(CONFIG),
    parameters=st.dictionaries(words, values, max_size=4),
    status=st.sampled_from(Status),
    reports=st.lists(reports, max_size=4).map(tuple),
    failure=st.none() | st.builds(Failure, message=words, traceback=words, log=st.none() | words),
)


def ledger_in(folder: Path) -> Ledger:
    return Ledger(RunFolder(folder))


def result(trial_id: str = "0001", **changes: Any) -> TrialResult:
    return TrialResult(**{"trial_id": trial_id, "config": CONFIG, "parameters": {}, "status": Status.RUNNING} | changes)


def run_record() -> RunRecord:
    return RunRecord(
        name="trash",
        objective=Objective(metric="val/loss"),
        space={"lr": [{"log": [1e-3, 3e-2], "when": {"strategy": "head"}}], "patience": {"choice": [None, 2]}},
        distributions={"lr (strategy: head)": {"name": "FloatDistribution", "attributes": {"step": None}}},
        created=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
        classes=("glass", "Papier für alle"),
        fingerprint="sha256:0",
        sample_counts={"train": 10, "val": 2},
        trials_planned=24,
        versions={"thaw": "0.1.0"},
    )


@given(results)
def test_trial_round_trip(trial: TrialResult) -> None:
    with tempfile.TemporaryDirectory() as folder:
        ledger = ledger_in(Path(folder))
        ledger.write_trial(trial)
        assert ledger.read_trial(trial.trial_id) == trial
        assert ledger.trials() == [trial]
        # The same object as the type's own reader sees.
        assert TrialResult.from_json(ledger.run.trial(trial.trial_id).read_text("utf-8")) == trial


def test_run_round_trip(tmp_path: Path) -> None:
    ledger_in(tmp_path).write_run(run_record())
    assert ledger_in(tmp_path).read_run() == run_record()


def test_run_record_fields_are_frozen() -> None:
    assert list(RunRecord.model_fields) == [
        "schema_version", "name", "uid", "objective", "space", "distributions", "confirms", "created", "classes",
        "fingerprint", "sources", "sample_counts", "class_counts", "photo_sizes", "skipped_images",
        "data_remarks", "trials_planned", "probe", "driven_seconds", "ended", "attempts", "extensions",
        "metrics_version", "versions",
    ]  # fmt: skip


@given(trial=results, extra=st.dictionaries(words.map("new_".__add__), values, min_size=1, max_size=3))
def test_unknown_fields_are_ignored_at_every_depth(trial: TrialResult, extra: dict[str, Any]) -> None:
    written = json.loads(trial.to_json())
    for mapping in (written, written["config"], written["config"]["data"], *written["reports"]):
        mapping.update(extra)
    with tempfile.TemporaryDirectory() as folder:
        path = RunFolder(Path(folder)).trial(trial.trial_id)
        path.parent.mkdir()
        path.write_text(json.dumps(written))
        assert ledger_in(Path(folder)).read_trial(trial.trial_id) == trial


def test_unknown_fields_of_the_run_are_ignored(tmp_path: Path) -> None:
    written = json.loads(run_record().model_dump_json()) | {"new": 1}
    written["objective"]["new"] = 1
    (tmp_path / "run.json").write_text(json.dumps(written))
    assert ledger_in(tmp_path).read_run() == run_record()


def test_old_schema_is_readable(tmp_path: Path) -> None:
    path = RunFolder(tmp_path).trial("0001")
    path.parent.mkdir()
    old = {
        "schema_version": 0,
        "trial_id": "0001",
        "config": CONFIG.to_json(),
        "parameters": {"lr": 0.01},
        "status": "COMPLETED",
    }
    for record in (old, {name: value for name, value in old.items() if name != "schema_version"}):
        path.write_text(json.dumps(record))
        assert ledger_in(tmp_path).read_trial("0001").parameters == {"lr": 0.01}


def test_trials_come_in_the_order_of_their_ids(tmp_path: Path) -> None:
    ledger = ledger_in(tmp_path)
    assert ledger.trials() == []
    for trial_id in ("10000", "0002", "9999", "0001"):
        ledger.write_trial(result(trial_id))
    assert [trial.trial_id for trial in ledger.trials()] == ["0001", "0002", "9999", "10000"]


def test_leftovers_of_a_killed_writer_are_ignored(tmp_path: Path) -> None:
    ledger = ledger_in(tmp_path)
    ledger.write_trial(result())
    (ledger.run.trials / ".0001.json.0123.tmp").write_text('{"half": ')
    (ledger.run.trials / "._0001.json").write_bytes(b"\x00\x05\x16\x07")  # left by macOS on foreign file systems
    assert ledger.trials() == [result()]


def test_file_names_that_are_not_utf8_survive(tmp_path: Path) -> None:
    trial = result(status=Status.FAILED, failure=Failure(message="cannot read caf\udce9.jpg"))
    ledger_in(tmp_path).write_trial(trial)
    assert ledger_in(tmp_path).read_trial("0001") == trial


def test_newer_schema_is_refused(tmp_path: Path) -> None:
    ledger = ledger_in(tmp_path)
    ledger.write_trial(result(schema_version=SCHEMA_VERSION + 1))
    with pytest.raises(InvalidInput, match=r"trials/0001\.json: schema_version must be at most 1, got 2; .* upgrade"):
        ledger.read_trial("0001")
    ledger.write_run(run_record().model_copy(update={"schema_version": SCHEMA_VERSION + 1}))
    with pytest.raises(InvalidInput, match=r"run\.json: schema_version must be at most"):
        ledger.read_run()


@pytest.mark.parametrize("text", ["", '{"trial_id": ', "\x00" * 20, "\xff"])
def test_broken_json_is_named(tmp_path: Path, text: str) -> None:
    ledger = ledger_in(tmp_path)
    ledger.write_trial(result())
    ledger.run.trial("0001").write_bytes(text.encode("latin-1"))
    with pytest.raises(InvalidInput, match=r"trials/0001\.json: a record must be JSON, got: .*; restore the file"):
        ledger.read_trial("0001")


def test_json_of_another_kind_is_named(tmp_path: Path) -> None:
    ledger = ledger_in(tmp_path)
    ledger.write_trial(result())
    ledger.run.trial("0001").write_text("[]")
    with pytest.raises(InvalidInput, match=r"0001\.json: the record: .*dictionary.*; the record was damaged or edited"):
        ledger.read_trial("0001")
    ledger.run.trial("0001").write_text('{"trial_id": "0001"}')
    with pytest.raises(InvalidInput, match=r"0001\.json: config: Field required; the record was damaged"):
        ledger.read_trial("0001")
    assert ledger.trials() == []
    assert "0001.json: config: Field required" in ledger.problems[0]


def test_copied_record_is_refused(tmp_path: Path) -> None:
    ledger = ledger_in(tmp_path)
    ledger.write_trial(result())
    ledger.run.trial("0002").write_text(ledger.run.trial("0001").read_text())
    with pytest.raises(InvalidInput, match=r"0002\.json: trial_id must be the name of the file, got '0001'"):
        ledger.read_trial("0002")
    assert ledger.trials() == [result()]
    assert len(ledger.problems) == 1


def test_missing_records_have_a_remedy(tmp_path: Path) -> None:
    ledger = ledger_in(tmp_path)
    with pytest.raises(InvalidInput, match=r"run\.json: a record must be a readable file, got: No such file"):
        ledger.read_run()
    with pytest.raises(InvalidInput, match=r"no trial has the id '7'; the run has no trials yet"):
        ledger.read_trial("7")
    ledger.write_trial(result("0007"))
    with pytest.raises(InvalidInput, match=r"no trial has the id '007'; did you mean 0007\?"):
        ledger.read_trial("007")


WRITER = """
import sys
from pathlib import Path
from analysis.ledger import Ledger
from analysis.run_folder import RunFolder
from trainables.result import Failure
ledger = Ledger(RunFolder(Path(sys.argv[1])))
trial = ledger.read_trial("0001")
print("ready", flush=True)
for number in range(10**9):
    failure = Failure(message=f"{sys.argv[2]}-{number}", traceback="x" * 200_000)
    ledger.write_trial(trial.model_copy(update={"failure": failure}))
"""


def test_sigkill_never_leaves_an_unreadable_record(tmp_path: Path) -> None:
    ledger = ledger_in(tmp_path)
    ledger.write_trial(result(failure=Failure(message="first")))
    for kill in range(6):
        command = [sys.executable, "-c", WRITER, str(tmp_path), str(kill)]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as writer:
            assert writer.stdout is not None
            assert writer.stdout.readline() == b"ready\n"
            soonest = time.monotonic() + 0.05 + 0.0137 * kill
            try:
                # A reader beside the writer; the kill comes once the writer has written, at an uneven moment.
                while not message(ledger).startswith(f"{kill}-") or time.monotonic() < soonest:
                    assert writer.poll() is None
            finally:
                writer.kill()
        assert writer.returncode == -signal.SIGKILL
        assert len(ledger.trials()) == 1
        assert message(ledger).startswith(f"{kill}-")


def message(ledger: Ledger) -> str:
    failure = ledger.read_trial("0001").failure
    assert failure is not None
    return failure.message


def test_light_to_import() -> None:
    heavy = "{'torch', 'ray', 'pandas', 'optuna', 'numpy'}"
    code = f"import analysis.ledger, analysis.heartbeat, sys; assert not {heavy} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_watched_ledger_parses_only_what_has_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ledger, run, parsed = ledger_in(tmp_path), RunFolder(tmp_path), []
    for number in range(3):
        ledger.write_trial(result(f"000{number}"))
    watched, read = WatchedLedger(run), ledger_module._readable_trial
    monkeypatch.setattr(ledger_module, "_readable_trial", lambda path, name: parsed.append(name) or read(path, name))
    assert watched.trials() == ledger.trials()
    parsed.clear()
    assert watched.trials() == watched.trials()
    assert parsed == []
    ledger.write_trial(result("0001", status=Status.PRUNED))
    assert [each.status for each in watched.trials()] == [Status.RUNNING, Status.PRUNED, Status.RUNNING]
    assert parsed == ["0001"]
    (tmp_path / "trials" / "0002.json").unlink()
    assert [each.trial_id for each in watched.trials()] == ["0000", "0001"]
    (tmp_path / "trials" / "0000.json").write_text("{")
    assert [each.trial_id for each in watched.trials()] == ["0001"]
    assert "0000.json" in watched.problems[0]
