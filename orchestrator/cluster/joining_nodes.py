"""JoiningNodes: checks of the nodes that join a running sweep; a bad node would fail trial after trial in seconds."""

import contextlib
import logging
import math
import time
from dataclasses import replace
from typing import Any

import ray

from orchestrator.cluster.node_checks import RayNode, ask, living_nodes, node_name, report
from orchestrator.cluster.node_probe import NodeQuestion

log = logging.getLogger(__name__)

LOOK_SECONDS = 5.0
ANSWER_SECONDS = 10.0


class JoiningNodes:
    """JoiningNodes: checks each node that joins like those before the first trial, without waiting for the answer."""

    def __init__(self, question: NodeQuestion, token: str) -> None:
        """Keep the question; `token` names a file of the run folder, in place of the driver's file."""
        self._question = replace(question, token=token)
        # No node is known yet: minutes may pass between the checks before the sweep and this one.
        self._known: set[str] = set()
        self._asked: dict[ray.ObjectRef[dict[str, Any]], RayNode] = {}
        self._looked = -math.inf

    def complaint(self) -> str | None:
        """Return the fault of a node that has joined, once it is known; to be called repeatedly."""
        if time.monotonic() - self._looked < LOOK_SECONDS:
            return None
        self._looked = time.monotonic()
        for found in living_nodes():
            if found["NodeID"] not in self._known:
                self._known.add(found["NodeID"])
                self._asked[ask(self._question, found)] = found
        done, _ = ray.wait(list(self._asked), num_returns=len(self._asked), timeout=0) if self._asked else ([], [])
        for reference in done:
            found = self._asked.pop(reference)
            try:
                answer = ray.get(reference)
            except ray.exceptions.RayError as error:  # the node has left; if not, it is asked once more
                log.warning("node %s has not answered: %s", node_name(found), error)
                self._known.discard(found["NodeID"])
                continue
            complaints = report(self._question, found, answer).complaints
            if complaints:
                return f"node {node_name(found)}, which has joined the cluster: {complaints[0]}"
        return None

    def close(self) -> None:
        """Wait a few seconds for outstanding answers, and delete the test files that their nodes have written."""
        if not self._asked:
            return
        done, _ = ray.wait(list(self._asked), num_returns=len(self._asked), timeout=ANSWER_SECONDS)
        for reference in done:
            with contextlib.suppress(ray.exceptions.RayError):  # the node has left
                report(self._question, self._asked[reference], ray.get(reference))
        self._asked.clear()
