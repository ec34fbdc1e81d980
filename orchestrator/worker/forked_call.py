"""Call of a function in a process that has the packages of training already.

Function, arguments and result pass through the worker of Ray as bytes: it would import the packages to read them.
"""

import pickle

from orchestrator.worker.forked_process import fork_process
from search_spaces.errors import ThawError


class Caller:
    """Caller: calls functions on behalf of a worker. An error of ours is its answer, since it has its class there."""

    def call(self, pickled: bytes) -> bytes | ThawError:
        """Call the function of a pair with the arguments of it; return what it returns, or the ThawError it raises."""
        function, arguments = pickle.loads(pickled)
        try:
            return pickle.dumps(function(*arguments))
        except ThawError as error:
            return error


def call_forked(pickled: bytes) -> bytes:
    """Call a function in a forked process, or here where none can be forked, see `fork_process`.

    `pickled` is the pair of function and arguments, and what is returned is the pickled result. Raises the function's
    ThawError, and RuntimeError with the traceback of any other error in the process.
    """
    process = fork_process(Caller())
    if process is None:
        answer = Caller().call(pickled)
    else:
        try:
            answer = process.call("call", pickled)
        finally:
            process.dismiss()
    if isinstance(answer, ThawError):
        raise answer
    return answer
