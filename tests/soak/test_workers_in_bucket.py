"""A trial of two workers whose run lies in a bucket, and whose driver is killed; photos and weights of a bucket."""

import shutil
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from safetensors.torch import save_file

from analysis.ledger import Ledger
from analysis.run_folder import RunFolder
from analysis.run_store import RunStore
from trainables.model.build import bare_model
from trainables.status import Status
from trainables.storage.bucket import BucketPath
from trainables.storage.place import as_place

pytestmark = [pytest.mark.soak, pytest.mark.seconds(60)]

EPOCHS = 6

# Without BatchNorm, which normalizes by each rank's own share of a batch.
TRIAL = {"architecture": "test_convnext", "strategy": "full", "epochs": EPOCHS, "optimizer": "sgd"}
SEARCH = {"trials": 1, "points": [{"lr": 0.001}]}
COMMON = {"trial": TRIAL, "space": {"lr": {"choice": [0.001]}}, "search": SEARCH}


@pytest.mark.timeout(900)
def test_two_workers_in_a_bucket_are_killed_and_resumed(
    bucket: str,
    write_sweep: Callable[..., Path],
    start_thaw: Callable[..., subprocess.Popen[str]],
    thaw: Callable[..., subprocess.CompletedProcess[str]],
    tmp_path: Path,
) -> None:
    storage, resources = {"root": f"{bucket}/team"}, {"workers": 2}
    run = RunFolder(as_place(f"{bucket}/team/two"))
    file = write_sweep(tmp_path, name="two", storage=storage, resources=resources, **COMMON)
    process = start_thaw("sweep", file, "--quiet", cwd=tmp_path)
    deadline = time.monotonic() + 300
    while not run.run_json.is_file() or not any(1 < len(trial.reports) < EPOCHS for trial in Ledger(run).trials()):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.2)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=60)

    # As on another machine: nothing of the run is on its disk.
    other = tmp_path / "other cache"
    resumed = thaw("resume", run.root, cwd=tmp_path, timeout=300, THAW_CACHE_DIR=str(other))
    assert resumed.returncode == 0, resumed.stderr
    one = thaw("sweep", write_sweep(tmp_path, name="one", **COMMON), cwd=tmp_path, timeout=300)
    assert one.returncode == 0, one.stderr
    (mine,), (yours,) = Ledger(run).trials(), Ledger(RunFolder(tmp_path / "runs" / "one")).trials()
    assert mine.status is yours.status is Status.COMPLETED
    assert [report.epoch for report in mine.reports] == list(range(1, EPOCHS + 1))
    for report, other_report in zip(mine.reports, yours.reports, strict=True):
        assert report.metrics == pytest.approx(other_report.metrics, rel=1e-4)

    assert "resumed after epoch " in thaw("logs", run.root, "0000", cwd=tmp_path).stdout
    assert thaw("logs", run.root, "0000.rank-1", cwd=tmp_path).stdout.count("rank 1 of 2 on ") == 2
    store = RunStore(run)
    assert store.has(store.newest(partial(RunFolder.best, trial_id="0000")))
    left = [path for path in other.rglob("*") if path.suffix in (".safetensors", ".tar")]
    assert left == [], "what a bucket keeps is not left on a node"


@pytest.mark.timeout(900)
def test_photos_manifest_and_weights_of_a_bucket_are_fetched_once_and_give_the_same_trials(
    bucket: str,
    s3_log: Path,
    write_sweep: Callable[..., Path],
    thaw: Callable[..., subprocess.CompletedProcess[str]],
    digits: Path,
    tmp_path: Path,
) -> None:
    photos, weights, manifest = tmp_path / "photos", tmp_path / "weights", tmp_path / "all.csv"
    rows = ["path,label,split"]
    for folder in sorted(path for path in digits.glob("*/*") if path.parent.name != "test"):
        inner = folder.relative_to(digits)
        (photos / inner).mkdir(parents=True)
        for file in sorted(folder.iterdir())[:10]:
            shutil.copy(file, photos / inner)
            rows.append(f"{inner / file.name},{folder.name},{folder.parent.name}")
    manifest.write_text("\n".join(rows))
    weights.mkdir()
    save_file(bare_model("test_efficientnet", 7, seed=3).state_dict(), weights / "test_efficientnet.safetensors")
    place = as_place(bucket)
    assert isinstance(place, BucketPath)
    sent = [path for path in tmp_path.rglob("*") if path.is_file()]
    for path in sent:
        (place / path.relative_to(tmp_path).as_posix()).write_bytes(path.read_bytes())

    common = {
        "trial": {"architecture": "test_efficientnet", "strategy": "full", "epochs": 1, "weights": "pretrained"},
        "search": {"trials": 2, "seed": 1, "probe": False},
    }
    size = {"image_size": 32, "resize_mode": "squash"}
    runs = []
    for name, base in (("here", str(tmp_path)), ("there", bucket)):
        data = {"root": f"{base}/photos", "weights_dir": f"{base}/weights", "manifest": f"{base}/all.csv", **size}
        cache = str(tmp_path / f"cache {name}")
        ended = thaw("sweep", write_sweep(tmp_path, name=name, data=data, **common), cwd=tmp_path, THAW_CACHE_DIR=cache)
        assert ended.returncode == 0, ended.stderr
        runs.append(Ledger(RunFolder(tmp_path / "runs" / name)))
    ours, theirs = (ledger.read_run() for ledger in runs)
    assert ours.fingerprint == theirs.fingerprint
    assert [*ours.sources.values()] == [*theirs.sources.values()]
    assert [*theirs.sources] == [f"{bucket}/weights/test_efficientnet.safetensors"]
    for mine, yours in zip(runs[0].trials(), runs[1].trials(), strict=True):
        assert mine.status is yours.status is Status.COMPLETED
        assert [report.metrics for report in mine.reports] == [report.metrics for report in yours.reports]
    gets = Counter(line.rpartition(" ")[0] for line in s3_log.read_text().splitlines() if line.startswith("GET "))
    for path in sent:
        key = path.relative_to(tmp_path).as_posix()
        assert gets[f"GET /{place.bucket}/{key}"] == 1, key
