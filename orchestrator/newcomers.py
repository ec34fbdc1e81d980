"""Nodes that join while a sweep runs. A bad one would fail trial after trial, each in a second, until none is left."""

import time
from dataclasses import replace

from analysis.run_folder import RunFolder
from orchestrator.cluster import RayNode, ask, living_nodes, make_question, node_name, report
from orchestrator.spec import SweepSpec
from trainables.data.readers import Dataset

import ray  # isort: skip  (after ray_runtime has set Ray's environment)

LOOK_SECONDS = 5.0


class Newcomers:
    """Looks at each node that joins, as the others were looked at before the first trial, without waiting for it."""

    def __init__(self, spec: SweepSpec, dataset: Dataset) -> None:
        # The run's own record stands for the file that the driver leaves beforehand.
        self._question = replace(make_question(spec, dataset), token=RunFolder(spec.run_root).run_json.name)
        self._known = {found["NodeID"] for found in living_nodes()}
        self._asked: dict[ray.ObjectRef[dict[str, object]], RayNode] = {}
        self._looked = time.monotonic()

    def complaint(self) -> str | None:
        """What is wrong with a node that has joined, once it is known; to be asked again and again."""
        if time.monotonic() - self._looked < LOOK_SECONDS:
            return None
        self._looked = time.monotonic()
        for found in living_nodes():
            if found["NodeID"] not in self._known:
                self._known.add(found["NodeID"])
                self._asked[ask(self._question, found)] = found
        done, _ = ray.wait(list(self._asked), num_returns=len(self._asked), timeout=0) if self._asked else ([], [])
        for reference in done:
            node = report(self._question, self._asked.pop(reference), reference)
            # One that is gone again is no harm.
            gone = node.name not in {node_name(found) for found in living_nodes()}
            if node.complaints and not gone:
                return f"node {node.name}, which has joined the cluster: {node.complaints[0]}"
        return None
