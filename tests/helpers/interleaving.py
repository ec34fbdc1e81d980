"""Interleaving: threads that take turns at every operation on a file or an object, in an order that a test chooses."""

import io
import os
import random
import threading
from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any

import pytest

from trainables.storage.bucket import BucketPath

Choice = Callable[[int, int, Sequence[int]], int]
"""Function of the steps of the thread that has the turn, its number, and the numbers of the threads that still run; it
returns the number of the thread that is next."""

_FILES = ("open", "mkdir", "link", "rename", "replace", "unlink", "rmdir", "listdir", "scandir", "fsync", "stat")
_OBJECTS = ("_kind", "iterdir", "read_bytes", "write_bytes", "create", "unlink", "copy_to", "upload", "download")
_current = threading.local()


def hook_operations(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every operation of a thread of `take_turns` wait for its turn."""
    for owner, names in ((os, _FILES), (io, ("open",)), (BucketPath, _OBJECTS)):
        for name in names:
            monkeypatch.setattr(owner, name, _hooked(getattr(owner, name)))


def _hooked(function: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(function)
    def call(*arguments: Any, **options: Any) -> Any:
        step = getattr(_current, "step", None)
        if step is not None:
            step()
        return function(*arguments, **options)

    return call


def take_turns(choose: Choice, *functions: Callable[[], Any]) -> list[Any]:
    """Call the functions in threads of which one runs at a time; return their results, or what they raised."""
    results: list[Any] = [None] * len(functions)
    running, turn, changed = list(range(len(functions))), 0, threading.Condition()

    def live(number: int) -> None:
        nonlocal turn
        steps = 0

        def step() -> None:
            nonlocal turn, steps
            with changed:
                steps += 1
                turn = choose(steps, number, running)
                changed.notify_all()
                changed.wait_for(lambda: turn == number)

        with changed:
            changed.wait_for(lambda: turn == number)
        _current.step = step
        try:
            results[number] = functions[number]()
        except Exception as error:
            results[number] = error
        finally:
            _current.step = None
            with changed:
                running.remove(number)
                turn = choose(-1, number, running) if running else -1
                changed.notify_all()

    threads = [threading.Thread(target=live, args=(number,), daemon=True) for number in running]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
        assert not thread.is_alive(), "a thread waits for another one for ever"
    return results


def paused_at(step: int) -> Choice:
    """Let the first thread do `step` operations, the others everything, and the first one the rest."""

    def choose(steps: int, number: int, running: Sequence[int]) -> int:
        if number == 0 and 0 <= steps < step:
            return 0
        return running[-1]

    return choose


def shuffled(seed: int) -> Choice:
    """Let the threads take turns of random lengths."""
    rng = random.Random(seed)
    length = rng.choice([1, 2, 5, 20])

    def choose(_steps: int, number: int, running: Sequence[int]) -> int:
        stays = number in running and rng.random() > 1 / length
        return number if stays else rng.choice(running)

    return choose
