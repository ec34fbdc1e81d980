"""An S3 service of moto, run as `python s3_server.py LOG HOST PORT` (0: any): prints `port N`, and logs each request.

A line of the log is the method, the path and the address that asks, e.g. `GET /bucket/key 127.0.0.1`.
"""

import sys
import threading
import time
from pathlib import Path

from moto.moto_server.werkzeug_app import DomainDispatcherApplication
from moto.server import ThreadedMotoServer

log, host, port = sys.argv[1:]
respond, writes = DomainDispatcherApplication.__call__, threading.Lock()
requests = Path(log).open("a", buffering=1)  # noqa: SIM115  (open as long as the process)


def respond_in_turn(application, environ, start_response):  # type: ignore[no-untyped-def]
    """Look and write in one step, as S3 does and moto does not, where a request writes only what is not there yet."""
    requests.write(f"{environ['REQUEST_METHOD']} {environ['PATH_INFO']} {environ['REMOTE_ADDR']}\n")
    if environ["REQUEST_METHOD"] in ("GET", "HEAD"):
        return respond(application, environ, start_response)
    with writes:
        return respond(application, environ, start_response)


DomainDispatcherApplication.__call__ = respond_in_turn
server = ThreadedMotoServer(host, int(port))
server.start()
print("port", server.get_host_and_port()[1], flush=True)
time.sleep(86400)
