"""The peer of trivial trials: plain Ray Tune with a function that reports once. Prints one line of JSON."""

import json
import os
import sys
import tempfile
import time
from typing import Any

import ray
from ray import tune
from ray.tune.search.optuna import OptunaSearch
from setting import process_age


def main() -> None:
    """Run a number of trials; the second argument is `max_concurrent_trials`, or none."""
    imports = process_age()
    trials, limit = int(sys.argv[1]), None if sys.argv[2] == "none" else int(sys.argv[2])
    before = time.perf_counter()
    ray.init(address="local", include_dashboard=False, log_to_driver=False, num_cpus=len(os.sched_getaffinity(0)))
    started = time.perf_counter() - before
    with tempfile.TemporaryDirectory() as results:
        tuner = tune.Tuner(
            tune.with_resources(report_once, {"cpu": 1}),
            param_space={"lr": tune.loguniform(1e-4, 1e-2)},
            tune_config=tune.TuneConfig(
                metric="score",
                mode="max",
                search_alg=OptunaSearch(),
                num_samples=trials,
                max_concurrent_trials=limit,
            ),
            run_config=tune.RunConfig(storage_path=results, verbose=0),
        )
        before = time.perf_counter()
        grid = tuner.fit()
        seconds = time.perf_counter() - before
        if grid.errors or len(grid) != trials:
            raise SystemExit(f"a trial of the peer failed: {grid.errors}")
    ray.shutdown()
    print(json.dumps({"seconds": seconds, "imports": imports, "ray": started}))


def report_once(config: dict[str, Any]) -> None:
    """The least that a trial can be."""
    tune.report({"score": config["lr"]})


if __name__ == "__main__":
    main()
