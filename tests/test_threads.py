"""Threads: each call is made once, results keep their order, and without threads the caller does the work."""

from __future__ import annotations

import _thread
import os
import signal
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hangar import Repository, threads
from hangar.threads import (
    Pipeline,
    Task,
    cores,
    in_background,
    parallel_map,
    run_parallel,
    threads_for,
)
from tests.alive import hangar_threads


@pytest.fixture(params=["threads", "no thread can be started", "the third cannot be started"])
def _threads(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "cores", lambda: 4)
    allowed = {"threads": 10**6, "no thread can be started": 0, "the third cannot be started": 2}[request.param]
    start = threading.Thread.start
    started: list[threading.Thread] = []

    def limited(thread: threading.Thread) -> None:
        if len(started) >= allowed:
            raise RuntimeError("can't start new thread")
        started.append(thread)
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", limited)


def both(waiting: Callable[[], Any], computing: Callable[[], Any]) -> tuple[Any, Any]:
    """Run ``waiting`` on a thread while the caller computes, as a writer does with a batch."""
    task = Task(waiting)
    try:
        started = in_background(task.run, "hangar-write")
        while started and not task._claims:
            time.sleep(0)  # What has not begun would be cancelled by an error of ``computing``.
        computed = computing()
        return task.result(wait=started), computed
    finally:
        task.settle()
        if task._error is not None:
            raise task._error


def test_both_are_done_at_once() -> None:
    barrier = threading.Barrier(2, timeout=10)
    assert both(barrier.wait, barrier.wait) in {(0, 1), (1, 0)}


def test_errors_come_out_when_both_are_over() -> None:
    ended = []

    def fail(name: str) -> None:
        ended.append(name)
        raise ValueError(name)

    with pytest.raises(ValueError, match="one"):
        both(lambda: fail("one"), lambda: ended.append("two"))
    with pytest.raises(ValueError, match="two"):
        both(lambda: ended.append("one"), lambda: fail("two"))
    with pytest.raises(ValueError, match="one"):
        both(lambda: fail("one"), lambda: fail("two"))
    assert sorted(ended) == ["one"] * 3 + ["two"] * 3


def test_an_interrupt_waits_until_the_write_is_over(default_interrupts: None) -> None:
    """What goes on writing behind an interrupted call's back would fall on what is written next in its place."""
    order: list[str] = []
    go = threading.Event()

    def write() -> None:
        assert go.wait(10)
        order.append("written")

    def interrupt() -> None:
        threading.Timer(0.05, _thread.interrupt_main).start()
        threading.Timer(0.15, _thread.interrupt_main).start()
        threading.Timer(0.4, go.set).start()

    try:
        both(write, interrupt)
    except KeyboardInterrupt:
        order.append("interrupted")
    assert order == ["written", "interrupted"]


def test_work_whose_thread_does_not_start_is_not_done_later(monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []
    threads: list[threading.Thread] = []
    assert hangar_threads() == [], "an idle thread would do it"

    def interrupted(thread: threading.Thread) -> None:
        threads.append(thread)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", interrupted)
        with pytest.raises(KeyboardInterrupt):
            both(lambda: done.append("written"), lambda: done.append("computed"))
    threads[0].start()
    threads[0].join()
    assert done == []


def fail_at(number: int) -> Any:
    def work(at: int) -> int:
        if at == number:
            raise ValueError(f"{at} failed")
        return at * at

    return work


@pytest.mark.usefixtures("_threads")
def test_results_come_in_order_and_each_call_is_made_once() -> None:
    calls: list[int] = []

    def work(at: int) -> int:
        calls.append(at)
        time.sleep(0.001 * (at % 3))
        return at * at

    assert list(parallel_map(work, range(50))) == [at * at for at in range(50)]
    assert sorted(calls) == list(range(50))
    with pytest.raises(ValueError, match="7 failed"):
        list(parallel_map(fail_at(7), range(50)))
    assert hangar_threads() == []


@pytest.mark.usefixtures("_threads")
def test_all_works_are_done_once() -> None:
    calls: list[int] = []
    run_parallel([lambda at=at: calls.append(at) for at in range(40)])  # type: ignore[misc]
    assert sorted(calls) == list(range(40))
    with pytest.raises(ValueError, match="5 failed"):
        run_parallel([lambda at=at: fail_at(5)(at) for at in range(40)])  # type: ignore[misc]
    assert both(lambda: 1, lambda: 2) == (1, 2)
    assert hangar_threads() == []


@pytest.mark.usefixtures("_threads")
def test_a_pipeline_keeps_order_and_its_bound() -> None:
    calls: list[int] = []

    def work(at: int) -> int:
        calls.append(at)
        return at

    taken: list[int] = []
    with Pipeline[int](4, 10, "hangar-test") as pipeline:
        for at in range(60):
            while not pipeline.room(4):
                taken.append(pipeline.take())
                pipeline.free(4)
            pipeline.offer(partial(work, at), 4)
            assert pipeline.held <= 16
        while len(pipeline):
            taken.append(pipeline.take())
    assert taken == list(range(60))
    assert sorted(calls) == list(range(60))


def test_a_pipeline_of_one_thread_makes_one_call_at_a_time_in_order() -> None:
    """Transforms of a data set need not be safe for threads, and may draw random numbers."""
    calls: list[int] = []
    running: list[int] = []

    def work(at: int) -> int:
        running.append(at)
        time.sleep(0.0005 * (at % 3))
        assert running == [at]
        calls.append(running.pop())
        return at

    with Pipeline[int](1, 10**9, "hangar-test") as pipeline:
        for at in range(0, 400, 4):
            for ahead in range(4):
                pipeline.offer(partial(work, at + ahead), 1)
            time.sleep(0.0004 * (at % 5))
            assert [pipeline.take() for _ in range(4)] == list(range(at, at + 4))
    assert calls == list(range(400))


@pytest.mark.usefixtures("_threads")
def test_what_a_pipeline_has_not_begun_at_its_end_never_is() -> None:
    calls: list[int] = []

    def work(at: int) -> None:
        calls.append(at)
        time.sleep(0.002)

    with Pipeline[None](1, 10**9, "hangar-test") as pipeline:
        for at in range(1_000):
            pipeline.offer(partial(work, at), 1)
    done = len(calls)
    assert done < 1_000
    time.sleep(0.05)
    assert len(calls) == done


@pytest.mark.usefixtures("_threads")
@pytest.mark.parametrize("backend", ["00", "10"])
def test_a_repository_needs_no_threads(tmp_path: Path, backend: str) -> None:
    """Batches large enough to be encoded, written and decoded on threads."""
    rows = np.arange(40 * 2**18, dtype=np.uint32).reshape(40, 512, 512)
    with Repository(tmp_path, exists=False) as repository:
        repository.init("Ada", "ada@example.com")
        writer = repository.checkout(write=True)
        column: Any = writer.add_ndarray_column("images", prototype=rows[0], backend=backend)
        column.write(range(40), rows)
        np.testing.assert_array_equal(writer["images"].read(range(40)), rows)
        writer.close()


def test_a_task_that_an_interrupt_met_before_its_call_can_still_be_settled() -> None:
    """The claim is made, the call not: nobody may wait for it."""
    calls: list[int] = []
    task = Task(lambda: calls.append(1))
    assert task._claim()
    task.settle()
    other = threading.Thread(target=task.run)
    other.start()
    other.join()
    assert calls == []


def test_a_generator_that_was_left_keeps_no_process_alive() -> None:
    code = """
from hangar import threads
threads.cores = lambda: 4
left = threads.parallel_map(lambda at: at, range(10**9))
print([next(left) for _ in range(100)][-1])
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert (result.returncode, result.stdout, result.stderr) == (0, "99\n", "")


def test_idle_threads_are_used_again_and_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "cores", lambda: 4)
    assert hangar_threads() == []
    started: list[str] = []
    start = threading.Thread.start

    def counted(thread: threading.Thread) -> None:
        started.append(thread.name)
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", counted)

    def work(at: int) -> int:
        time.sleep(0.001)
        return at

    for _ in range(30):
        assert list(parallel_map(work, range(6))) == list(range(6))
        with Pipeline[int](2, 4, "hangar-test") as pipeline:
            for at in range(6):
                pipeline.offer(partial(work, at), 1)
                assert pipeline.take() == at
        run_parallel([partial(time.sleep, 0.001) for _ in range(3)])
    # Busy cores may delay a thread beyond its idle time; without reuse it is about 360 threads.
    assert 3 <= len(started) < 60
    assert hangar_threads() == []


def test_a_call_is_never_lost_between_idle_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Threads end just when work comes."""
    monkeypatch.setattr(threads, "IDLE_SECONDS", 0.0005)
    done: list[int] = []

    def hire(part: int) -> None:
        for at in range(part, 2_000, 4):
            assert in_background(partial(done.append, at), "hangar-test")
            time.sleep(0.0004 + 0.00002 * (at % 20))

    callers = [threading.Thread(target=hire, args=(part,)) for part in range(4)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join(60)
    assert hangar_threads() == []
    assert sorted(done) == list(range(2_000))
    assert threads._idle == []


def test_an_idle_thread_holds_no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "IDLE_SECONDS", 5)

    class Large:
        def run(self) -> None:
            pass

    large = Large()
    held = weakref.ref(large)
    task = Task(large.run)
    assert in_background(task.run, "hangar-test")
    task.wait()
    del large, task
    deadline = time.monotonic() + 4
    while held() is not None and time.monotonic() < deadline:
        time.sleep(0.001)
    assert held() is None
    threads._idle.pop().inbox.put(None)
    assert hangar_threads() == []


RUN = """
import os, threading, time
from hangar import threads
threads.cores = lambda: 4
threads.IDLE_SECONDS = 30
assert list(threads.parallel_map(lambda at: time.sleep(0.01), range(8))) == [None] * 8
assert threads._idle
"""


def python(code: str) -> tuple[int, str, str]:
    result = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", code],
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    return result.returncode, result.stdout, result.stderr


def test_the_process_does_not_wait_for_idle_threads() -> None:
    assert python(RUN + "print('over')") == (0, "over\n", "")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="only where processes fork")
def test_a_forked_child_has_threads_of_its_own() -> None:
    """Neither idle threads of the parent nor calls that they had begun are waited for."""
    code = (
        RUN
        + """
go = threading.Event()
with threads.Pipeline(2, 10, "hangar-test") as pipeline:
    pipeline.offer(go.wait, 1)
    begun = pipeline._waiting[0]
    while not begun.begun:
        time.sleep(0.001)
    child = os.fork()
    if child:
        # It would never end if it waited.
        assert os.waitpid(child, 0)[1] == 0
        go.set()
    else:
        assert threads._idle == []
        assert list(threads.parallel_map(lambda at: at, range(8))) == list(range(8))
        try:
            begun.result()
        except RuntimeError as error:
            print(error, flush=True)
        begun.settle()
"""
    )
    assert python(code) == (0, "a call of the parent process was not over when this process was forked\n", "")


def test_ctrl_c_ends_a_wait_at_once(default_interrupts: None) -> None:
    go = threading.Event()
    task = Task(go.wait)
    assert in_background(task.run, "hangar-test")
    threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT)).start()
    began = time.monotonic()
    try:
        with pytest.raises(KeyboardInterrupt):
            task.result(wait=True)
        assert time.monotonic() - began < 1
    finally:
        go.set()


def test_the_number_of_threads_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    assert 1 <= cores() <= threads.MAX_CORES
    if hasattr(os, "sched_getaffinity"):
        assert cores() == min(len(os.sched_getaffinity(0)), threads.MAX_CORES)
    monkeypatch.setattr(threads, "cores", lambda: 8)
    assert [threads_for(size) for size in (0, 1, threads.HELD_BYTES // 3, threads.HELD_BYTES)] == [8, 8, 3, 0]


def test_threads_are_started_and_cores_counted_in_one_module() -> None:
    """What starts threads elsewhere would lack the way back to the calling thread."""
    source = Path(threads.__file__).parent
    offenders = [
        path.name
        for path in source.rglob("*.py")
        # A gRPC server takes an executor, and never calls back into the thread that made it.
        if path.name != "threads.py"
        and path.relative_to(source).as_posix() != "remote/server.py"
        and "testing" not in path.parts
        and any(
            word in path.read_text("utf-8")
            for word in ("ThreadPoolExecutor", "cpu_count", "sched_getaffinity", "Thread(target")
        )
    ]
    assert offenders == []
