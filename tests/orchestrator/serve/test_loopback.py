import pytest

from orchestrator.serve.loopback import listen
from search_spaces.errors import InvalidInput


def test_a_port_is_taken_once() -> None:
    with listen(0) as server:
        host, port = server.getsockname()
        assert host == "127.0.0.1"
        with pytest.raises(InvalidInput, match=rf"--port: must be a free port of 127.0.0.1, got {port}: Addr"):
            listen(port)
    listen(port).close()
