from pathlib import Path

from trainables.storage.folders import TrialFolders, cache_folder


def test_the_two_checkpoints_of_a_trial_lie_side_by_side(tmp_path: Path) -> None:
    folders = TrialFolders(tmp_path / "checkpoints", tmp_path / "predictions.parquet", tmp_path / "cache")
    assert (folders.best, folders.last) == (tmp_path / "checkpoints" / "best", tmp_path / "checkpoints" / "last")
    assert folders.cache_budget is None
    assert list(tmp_path.iterdir()) == [], "naming them makes nothing"


def test_a_relative_cache_is_below_the_working_directory(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert cache_folder(Path("cache"), {}) == tmp_path / "cache" == cache_folder(None, {"THAW_CACHE_DIR": "cache"})
    monkeypatch.setenv("HOME", "/home/ada")
    assert cache_folder(None, {"THAW_CACHE_DIR": "~/cache"}) == Path("/home/ada/cache")


def test_the_cache_is_the_configured_folder_then_the_environment_s_then_home() -> None:
    assert cache_folder(Path("/a"), {"THAW_CACHE_DIR": "/b"}) == Path("/a")
    assert cache_folder(None, {"THAW_CACHE_DIR": "/b"}) == Path("/b")
    assert cache_folder(None, {"THAW_CACHE_DIR": ""}) == cache_folder(None, {}) == Path.home() / ".cache" / "thaw"
