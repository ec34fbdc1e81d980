"""Call of a function in a process that has the packages of training already."""

from collections.abc import Callable
from typing import Any, TypeVar

from orchestrator.worker.forked_process import fork_process
from search_spaces.errors import ThawError

_Returned = TypeVar("_Returned")


class Caller:
    """Caller: calls functions on behalf of a worker. An error of ours is its answer, since it has its class there."""

    def call(self, function: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
        """Return what the function returns, or the ThawError that it raises."""
        try:
            return function(*arguments)
        except ThawError as error:
            return error


def call_forked(function: Callable[..., _Returned], *arguments: Any) -> _Returned:
    """Call a function in a forked process, or here where none can be forked, see `fork_process`.

    Raises its ThawError, and RuntimeError with the traceback of any other error in the process.
    """
    process = fork_process(Caller())
    if process is None:
        return function(*arguments)
    try:
        answer = process.call("call", function, arguments)
    finally:
        process.dismiss()
    if isinstance(answer, ThawError):
        raise answer
    result: _Returned = answer
    return result
