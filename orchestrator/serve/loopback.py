"""Loopback: a server that only this machine reaches."""

import os
import socket

import uvicorn
from fastapi import FastAPI

from search_spaces.errors import InvalidInput

HOST = "127.0.0.1"


def listen(port: int) -> socket.socket:
    """Return a socket that listens on a port of the loopback interface; 0 is any free one.

    Raises InvalidInput where the port is taken or not allowed.
    """
    server = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind((HOST, port))
        server.listen()
    except OSError as error:
        server.close()
        reason = os.strerror(error.errno or 0)
        rule = f"--port: must be a free port of {HOST}, got {port}: {reason}"
        raise InvalidInput(f"{rule}; choose another one, or 0 for any") from None
    return server


def server_of(app: FastAPI) -> uvicorn.Server:
    """Return a server, whose `run(sockets=...)` answers requests until Ctrl-C."""
    # An open page repeats its request each second: one that is cut off is not lost.
    config = uvicorn.Config(
        app, log_config=None, access_log=False, lifespan="off", ws="none", timeout_graceful_shutdown=1
    )
    return uvicorn.Server(config)
