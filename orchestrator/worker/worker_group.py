"""WorkerGroup: the processes of one trial, reserved together, kept warm from trial to trial, and killed together.

A worker group has the interface of the trial that it runs: `begin` returns an iterator of epochs. Every `next()` is
called on all ranks at once. Faults:

- A rank dies, or does not answer: `WorkerLost`. The trial is tried again from its checkpoint.
- Its storage fails: `StorageFailed`. The sweep ends, and a resumed one continues the trial.
- A rank raises: `TrialEnded`, with its traceback. The others wait for it in a collective operation; unless all ranks
  have raised the same, the group cannot be used again.
- An epoch takes too long: `TrialEnded`, as timed out.

Ranks that cannot be used again are killed, and the next trial starts new ones.
"""

import logging
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import ray
from ray.util.placement_group import PlacementGroup
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from orchestrator.worker import run_trial
from orchestrator.worker.assignment import Assignment, EndKind, TrialEnd
from orchestrator.worker.rank import Begin, RankEnd
from orchestrator.worker.rank_actor import RankActor
from search_spaces.errors import StorageFailed
from trainables.result import EpochReport, Failure

log = logging.getLogger("orchestrator")

COLLECTIVE_TIMEOUT = 1800.0
"""Seconds that a rank waits for another: torch's default for gloo. On a cold node the other may be decoding a data
set."""

START_TIMEOUT = 300.0
"""Seconds for ranks to start, import and meet, or to read the checkpoint of a trial."""

SETTLE_SECONDS = 5.0
"""Seconds for the other ranks to answer after the first fault: whether all failed alike, or which rank has died."""

DUMP_SECONDS = 0.5
"""Seconds for a rank to log its place after a timeout: one rank after another, since they write piecewise to one
log."""

NODE_DIED = "its node has died"
"""Ray's text for the death of a process with its node; the exception has no field for that."""

END_TIMEOUT = 30.0
"""Seconds for ranks to release a trial."""


class WorkerLost(Exception):
    """WorkerLost: a rank has died, or does not answer: a fault of the machine and not of the trial."""


class WorkerTimeout(WorkerLost):
    """WorkerTimeout: ranks have not answered in time."""


class TrialEnded(Exception):
    """TrialEnded: a trial has ended by itself; another try would not change that."""

    def __init__(self, end: TrialEnd) -> None:
        super().__init__(_message(end))
        self.end = end


class WorkerGroup:
    """WorkerGroup: ranks of one trial after another, one in each bundle of a placement group."""

    def __init__(
        self, group: PlacementGroup, begin: Begin = run_trial.begin, collective_timeout: float = COLLECTIVE_TIMEOUT
    ) -> None:
        self._group = group
        self._begin = begin
        self._collective_timeout = collective_timeout
        self._ranks: list[Any] = []

    def begin(self, assignment: Assignment) -> run_trial.StartedTrial:
        """Begin the trial on all ranks, as `run_trial.begin`; it and its iterator raise WorkerLost and TrialEnded."""
        if not self._ranks:
            self._start()
        done = self._ask("begin", [(assignment, rank) for rank in range(len(self._ranks))], START_TIMEOUT)
        epochs = [len(reports) for reports in done]
        if len(set(epochs)) > 1:  # a worker that was cut off has written one between two readings
            self.dismiss()
            raise WorkerLost(f"all ranks must go on from one checkpoint, got checkpoints after the epochs {epochs}")
        return done[0], self._epochs(assignment.resources.epoch_timeout, len(done[0]))

    def dismiss(self) -> None:
        """Kill the ranks, whatever they do; a trial that is begun afterwards starts new ones."""
        for rank in self._ranks:
            ray.kill(rank)
        self._ranks = []

    def _start(self) -> None:
        bundles: Sequence[Mapping[str, float]] = self._group.bundle_specs
        for index, bundle in enumerate(bundles):
            strategy = PlacementGroupSchedulingStrategy(self._group, placement_group_bundle_index=index)
            actor = ray.remote(RankActor).options(
                num_cpus=bundle.get("CPU", 0), num_gpus=bundle.get("GPU", 0), scheduling_strategy=strategy
            )
            self._ranks.append(actor.remote(self._begin))
        if len(bundles) > 1:
            place = self._ranks[0].offer.remote(START_TIMEOUT)
            times = START_TIMEOUT, self._collective_timeout
            joins = [(rank, len(bundles), place, bundle.get("GPU", 0), *times) for rank, bundle in enumerate(bundles)]
            self._ask("join", joins, START_TIMEOUT)

    def _epochs(self, limit: float | None, done: int) -> Iterator[EpochReport]:
        try:
            while True:
                try:
                    reports = self._advance(limit)
                except WorkerTimeout as error:
                    message = (
                        f"epoch {done + 1} must end within {limit:g} s (resources.epoch_timeout), but has not; its log "
                        "may say where it was; set a longer one, or make the epochs shorter"
                    )
                    end = TrialEnd(kind=EndKind.TIMED_OUT, failure=Failure(message=message))
                    raise TrialEnded(end) from error
                # Every rank reports the same; rank 0 has written the checkpoint.
                if reports[0] is None:
                    return
                done += 1
                yield reports[0]
        finally:
            self._end()

    def _advance(self, limit: float | None) -> list[Any]:
        ranks = len(self._ranks)
        if limit is None:
            return self._ask("advance", [(None,)] * ranks, None)
        dumps = [(limit + rank * DUMP_SECONDS,) for rank in range(ranks)]
        return self._ask("advance", dumps, limit + ranks * DUMP_SECONDS)

    def _end(self) -> None:
        try:
            self._ask("end", [()] * len(self._ranks), END_TIMEOUT)
        except WorkerLost as error:
            log.warning("%s; the next trial starts new ranks", error)

    def _ask(self, method: str, arguments: Sequence[tuple[Any, ...]], limit: float | None) -> list[Any]:
        """Return the answers of all ranks in order. Raises WorkerTimeout after `limit` seconds, WorkerLost, TrialEnded.

        The ranks are killed then, unless they have all failed alike.
        """
        until = time.monotonic() + (limit or math.inf)
        answers = self._collect(method, arguments, until)
        ranks = len(self._ranks)
        bad = [answer for answer in answers.values() if _is_bad(answer)]
        if len(answers) == ranks and not bad:
            return [answers[rank] for rank in range(ranks)]
        if len(bad) < ranks or not _are_alike(bad):
            self.dismiss()
        if not bad and time.monotonic() >= until:
            raise WorkerTimeout(f"{method} has not ended within {limit:g} s")
        raise diagnosis(answers, ranks)

    def _collect(self, method: str, arguments: Sequence[tuple[Any, ...]], until: float) -> dict[int, Any]:
        """Collect the answers of the ranks; stop at `until`, or earlier once the other ranks will not answer."""
        calls = [getattr(rank, method).remote(*own) for rank, own in zip(self._ranks, arguments, strict=True)]
        waiting = {call: rank for rank, call in enumerate(calls)}
        answers: dict[int, Any] = {}
        while waiting:
            left = until - time.monotonic()
            ready, _ = ray.wait(list(waiting), timeout=None if left == math.inf else max(0.0, left))
            # Ray may return a little early, and a timeout is told from silence by the time.
            if not ready and time.monotonic() >= until:
                break
            for call in ready:
                rank = waiting.pop(call)
                try:
                    answers[rank] = ray.get(call)
                except ray.exceptions.RayError as error:
                    answers[rank] = error
                # Ranks run in lockstep, so the last is never far behind the first.
                patience = SETTLE_SECONDS if _is_bad(answers[rank]) else self._collective_timeout
                until = min(until, time.monotonic() + patience)
        return answers


def diagnosis(answers: Mapping[int, Any], ranks: int) -> WorkerLost | TrialEnded | StorageFailed:
    """Return the fault of a trial of `ranks` ranks, some of whose answers are missing or bad.

    A death explains every other fault. Next counts the fault that a rank reports of itself, last a fault that it
    reports of others.
    """
    died = {rank: answer for rank, answer in answers.items() if isinstance(answer, ray.exceptions.RayError)}
    if died:
        rank, error = min(died.items(), key=lambda item: item[0])
        return WorkerLost(f"rank {rank} of {ranks} has died: {error!s}")
    for _, answer in sorted(answers.items(), key=lambda item: item[0]):
        if isinstance(answer, RankEnd) and answer.end.kind is EndKind.STORAGE_FAILED:
            return StorageFailed(_message(answer.end))
        if isinstance(answer, RankEnd) and not answer.peer_lost:
            return TrialEnded(answer.end)
    silent = ", ".join(str(rank) for rank in range(ranks) if rank not in answers)
    return WorkerLost(f"rank {silent or 'unknown'} of {ranks} is silent; the others have waited for it in vain")


def _are_alike(bad: Sequence[Any]) -> bool:
    """Return whether these ranks have raised the same, so that none of them still waits for another."""
    messages = {_message(answer.end) for answer in bad if isinstance(answer, RankEnd) and not answer.peer_lost}
    return len(messages) == 1 and all(isinstance(answer, RankEnd) and not answer.peer_lost for answer in bad)


def _message(end: TrialEnd) -> str:
    return end.failure.message if end.failure is not None else end.kind


def _is_bad(answer: Any) -> bool:
    return isinstance(answer, RankEnd | ray.exceptions.RayError)
