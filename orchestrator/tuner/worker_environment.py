"""Environment of Tune's workers: inherited from Ray on their node, without secrets that Tune copies from the driver."""

from ray.tune.execution import class_cache


def keep_keys_of_aws_out() -> None:
    """Stop Tune from copying the driver's AWS_* variables into the runtime environment of its workers.

    Ray logs a runtime environment in clear, and passes it on command lines. Workers inherit the keys from the process
    that has started Ray on their node. Tune has no public setting for that; it reads this set for each worker.
    """
    class_cache.ENV_VARS_TO_PROPAGATE -= {name for name in class_cache.ENV_VARS_TO_PROPAGATE if name.startswith("AWS_")}
