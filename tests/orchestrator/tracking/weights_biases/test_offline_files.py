from analysis.run_folder import RunFolder
from orchestrator.tracking.weights_biases.offline_files import mark_as_sent, unsent_files


def test_a_file_that_is_marked_is_not_to_be_sent(empty_run: RunFolder) -> None:
    files = [empty_run.wandb / f"offline-run-{number}-a-1" / "run-a-1.wandb" for number in (1, 2)]
    other = empty_run.wandb / "offline-run-1-a-11" / "run-a-11.wandb"
    for file in (*files, other):
        file.parent.mkdir(parents=True)
        file.touch()
    assert sorted(unsent_files(empty_run, "a-1")) == files
    assert len(unsent_files(empty_run, "*")) == 3
    mark_as_sent(files[0])
    assert unsent_files(empty_run, "a-1") == [files[1]]
    assert (files[0].parent / "run-a-1.wandb.synced").exists(), "the name that the client gives to its own mark"
