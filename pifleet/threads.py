"""Owns doing the same to many things at once in threads that never keep an interrupted program alive.
It must not know what is done, or to what."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Sequence
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def side_by_side(items: Sequence[T], work: Callable[[T], R], at_once: int) -> list[R]:
    """`work` on every item in threads; results in the order of `items`. What it raises is raised here, after all ended.

    The threads are daemons, so that an interrupt ends the program and not only the waiting.
    """
    waiting: queue.SimpleQueue[tuple[int, T]] = queue.SimpleQueue()
    results: dict[int, R] = {}
    errors: list[BaseException] = []

    def worker() -> None:
        while True:
            try:
                number, item = waiting.get_nowait()
            except queue.Empty:
                return
            try:
                results[number] = work(item)
            except BaseException as error:  # carried over to the caller's thread
                errors.append(error)

    for pair in enumerate(items):
        waiting.put(pair)
    threads = [threading.Thread(target=worker, daemon=True) for _ in range(min(at_once, len(items)))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
    return [results[number] for number in range(len(items))]
