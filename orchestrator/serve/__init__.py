"""Servers: the dashboard. Only this folder imports FastAPI."""
