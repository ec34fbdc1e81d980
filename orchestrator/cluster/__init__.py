"""Machines: Ray's runtime, the nodes of a cluster, their capacity and their checks."""
