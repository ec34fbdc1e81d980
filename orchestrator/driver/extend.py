"""Extension of a run: more trials, more architectures, wider ranges, a larger budget; results are kept.

After all checks, the run's own sweep file is changed, and the run continues as after a resume. The study is rebuilt
from the ledger under the new distributions, since Optuna refuses a choice whose values change. A trial that lies
outside of a narrowed space keeps its place on the leaderboard, and is left out of the study.
"""

import datetime
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from analysis.heartbeat import Heartbeat
from analysis.leaderboard import Leaderboard
from analysis.ledger import Extension, Ledger, RunRecord
from analysis.run_folder import RunFolder, open_run
from analysis.run_store import RunStore, write_atomically
from orchestrator.driver.driver_claim import check_not_driven, claimed
from orchestrator.driver.resume_checks import check_resumable
from orchestrator.driver.sweep import SweepOutcome, drive, session_of, space_record
from orchestrator.driver.sweep_events import SweepEvents
from orchestrator.search import warm_start
from orchestrator.search.study import locate, locate_trial
from orchestrator.spec.loading import load_run, resolve
from orchestrator.spec.overrides import apply_override, overridden
from orchestrator.spec.sweep_spec import DEFAULT_RECIPE, SHARED, SweepSpec
from orchestrator.tracking.observer import Observer
from search_spaces.documents import read_mapping
from search_spaces.domains import Choice
from search_spaces.errors import InvalidInput
from search_spaces.shell import thaw_command
from search_spaces.space import Point, parameters_text, point_with
from trainables.data.arrays import Arrays
from trainables.result import TrialResult
from trainables.storage.folders import cache_folder
from trainables.storage.place import Place


@dataclass(frozen=True)
class Extended:
    """Extended: state of a run after its extension."""

    run: RunFolder
    """Run that is extended."""

    spec: SweepSpec
    """Sweep with the changes."""

    arrays: Arrays
    """Images of the sweep."""

    record: RunRecord
    """Record of the run with the extension as its last one."""

    trials: tuple[TrialResult, ...]
    """All trials so far."""

    outside: tuple[str, ...]
    """Ids of the finished trials that lie outside of the new space."""

    warm: warm_start.WarmStart | None
    """Trials of other runs from which it learns, where these have changed."""

    before: Heartbeat | None
    """Newest driver of the run at the time of the plan; None where no process has ever driven it."""

    def write(self, run: RunFolder) -> None:
        """Write the planned changes to the run, which this process has claimed."""
        if self.warm is not None:
            warm_start.store(run, self.warm)
        write_atomically(run.sweep_yaml, self.spec.to_yaml())
        Ledger(run).write_run(self.record)


def extend_sweep(extended: Extended, observers: Iterable[Observer] = (), address: str | None = None) -> SweepOutcome:
    """Write the planned changes, once the cluster is ready, and run the sweep to its end; see `resume_sweep`."""
    spec, root, arrays = extended.spec, extended.run.root, extended.arrays
    cache = cache_folder(spec.storage.cache_dir)
    with (
        SweepEvents(spec, root, observers, extended.trials) as events,
        claimed(root, extended.before, cache) as claim,
        session_of(spec, claim, arrays, address),
    ):
        extended.write(claim.open())
        return drive(spec, claim, arrays, events, address)


def plan_extension(
    folder: Place,
    trials: int = 0,
    overrides: Sequence[str] = (),
    on_wait: Callable[[str], None] = lambda _text: None,
) -> Extended:
    """Plan `trials` more than before, and changes of the sweep file of a run; write and train nothing.

    `on_wait` gets a sentence before the heartbeat of an earlier driver is watched, for at most 50 seconds. Raises
    InvalidInput when `folder` is no run or is being driven, when a change would make old results incomparable or leave
    nothing to do, and for every fault for which a new sweep would be refused.
    """
    before = check_not_driven(open_run(folder).root, on_wait)
    run = open_run(folder)
    ledger = Ledger(run)
    known, record, old = ledger.trials(), ledger.read_run(), load_run(run)
    new = _changed(run, old, trials, overrides, known)
    changes = _changes(old, new, points=any(overridden(change).startswith("search.points") for change in overrides))
    if not changes:
        raise InvalidInput(
            f"{folder}: an extension must change something, got nothing new; "
            "give --trials, or --set space.architecture+=NAME"
        )
    outside = [trial for trial in known if locate_trial(new.problem, trial) is None]
    _check_work(folder, new, known, outside)
    now = datetime.datetime.now(datetime.UTC)
    extension = Extension(at=now, changes=tuple(changes), first_trial=ledger.next_number())
    record = record.model_copy(
        update={**space_record(new), "ended": None, "extensions": (*record.extensions, extension)}
    )
    arrays = check_resumable(new, run, record, folder)
    has_others = new.search.warm_start != old.search.warm_start
    warm = _others(new, arrays, record) if has_others else None
    return Extended(run, new, arrays, record, tuple(known), tuple(trial.trial_id for trial in outside), warm, before)


def _others(spec: SweepSpec, arrays: Arrays, record: RunRecord) -> warm_start.WarmStart:
    return warm_start.collect_trials(
        spec.problem,
        arrays.fingerprints.is_trained,
        lacks_classes=arrays.dataset.lacks_classes("val"),
        metrics_version=record.metrics_version,
    )


def _changed(
    run: RunFolder, old: SweepSpec, trials: int, overrides: Sequence[str], known: Sequence[TrialResult]
) -> SweepSpec:
    """Return the sweep with the changes; settings that have moved to `space` are removed from `trial`.

    Unless the changes set the points that are tried first, the old ones stay, as far as they lie in the space. Every
    new choice follows, on top of the best configuration so far: old results do not inform the sampler about it.
    """
    store = RunStore(run)
    with store.reading(store.newest(lambda layer: layer.sweep_yaml)) as path:
        raw, written = read_mapping(path), read_mapping(path)
    for override in overrides:
        apply_override(raw, override)
    searched = raw.get("space")
    for key in map(overridden, overrides):
        section, _, name = key.partition(".")
        if section == "trial" and isinstance(searched, dict) and name in searched:
            raise InvalidInput(f"{key}: must not be set, since {name} is searched; change space.{name}")
    _check_comparable(run, written, raw)
    search, space, fixed = (raw.get(section) for section in ("search", "space", "trial"))
    if isinstance(space, dict) and isinstance(fixed, dict):
        raw["trial"] = {name: value for name, value in fixed.items() if name not in space}
    if isinstance(search, dict) and isinstance(search.get("trials"), int):
        search["trials"] += trials
    given = any(overridden(override).startswith("search.points") for override in overrides)
    if isinstance(search, dict) and not given:
        search.pop("points", None)
    # Relative paths in a change are relative to the user's current folder; those of the run are absolute.
    new = resolve(raw, Path.cwd(), str(run.sweep_yaml))
    if given:
        return new
    found = _new_choices(old, new, known)
    before = old.search.points or (old.first_points() if found else [])
    points = [locate(new.search_space, old.trial_config(point), point) for point in before]
    first = [point for point in (*points, *found) if point is not None]
    return new.model_copy(update={"search": new.search.model_copy(update={"points": first or None})})


def _new_choices(old: SweepSpec, new: SweepSpec, known: Sequence[TrialResult]) -> list[Point]:
    """Return a point for each choice that is new, at most as many as half of the trials that are left."""
    if new.search.sampler == "grid":
        return []
    best = Leaderboard.from_trials(old.objective, known).entries[:1]
    preferred = {**DEFAULT_RECIPE, **(best[0].trial.parameters if best and best[0].rank else {})}
    points = [
        point_with(new.search_space, preferred, name, value)
        for name, branches in new.search_space.dimensions.items()
        for branch in branches
        if isinstance(branch.domain, Choice) and not (name == "architecture" and new.probed)
        for value in branch.domain.values
        if not any(other.domain.contains(value) for other in old.search_space.dimensions.get(name, ()))
        and not any(getattr(trial.config, name) == value for trial in known)
    ]
    left = new.search.trials - len(known)
    return [point for point in points if point is not None][: max(1, left // 2)]


def _check_comparable(run: RunFolder, before: Mapping[str, Any], after: Mapping[str, Any]) -> None:
    """Raise InvalidInput where old and new results would differ in meaning: only proposals and length may change."""
    was, now = _flat(before), _flat(after)
    for key in dict.fromkeys((*was, *now)):
        section, _, name = key.partition(".")
        fixed = section in ("name", *SHARED, "trial") or key == "storage.root"
        if fixed and was.get(key) != now.get(key) and not (section == "trial" and name in (after.get("space") or ())):
            raise InvalidInput(
                f"--set {key}: must stay {was.get(key, 'unset')!r}, got {now.get(key)!r}: {run.root} could not "
                "compare its old results with the new ones; launch a new sweep"
            )


def _check_work(folder: Place, new: SweepSpec, known: Sequence[TrialResult], outside: Sequence[TrialResult]) -> None:
    unfinished = [trial for trial in known if trial.status.unfinished]
    for trial in outside:
        if trial in unfinished:
            raise InvalidInput(
                f"{folder}: unfinished trials must stay in the space, but {trial.trial_id} would not "
                f"({parameters_text(trial.parameters)}); `{thaw_command('resume', folder)}` finishes it, or keep its "
                "values"
            )
    if not unfinished and new.search.trials <= len(known):
        raise InvalidInput(
            f"{folder}: an extension must leave something to do, but {len(known)} of {new.search.trials} trials have "
            "ended; give --trials, the number to add"
        )


def _changes(old: SweepSpec, new: SweepSpec, *, points: bool) -> list[str]:
    """Return every key of the sweep file that differs, as `key: old -> new`; of lists the entries added and removed."""
    before, after = (_flat(spec.model_dump(mode="json", exclude_none=True)) for spec in (old, new))
    changes = []
    for key in dict.fromkeys((*before, *after)):
        was, now = before.get(key), after.get(key)
        if was == now or (key == "search.points" and not points):
            continue
        if key.endswith(".choice") and isinstance(was, list) and isinstance(now, list):
            signs = [f"+ {value}" for value in now if value not in was] + [
                f"- {value}" for value in was if value not in now
            ]
            changes.append(f"{key}: {', '.join(signs) or now}")
        else:
            changes.append(f"{key}: {'unset' if was is None else was} -> {'unset' if now is None else now}")
    return changes


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return the values of nested sections under their dotted keys."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return flat
