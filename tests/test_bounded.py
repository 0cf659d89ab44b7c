from __future__ import annotations

import threading

from hangar.bounded import BoundedCache


def test_what_is_used_stays_and_the_rest_goes() -> None:
    cache: BoundedCache[int, str] = BoundedCache(100)
    for key in range(10):
        cache.put(key, str(key), 10)
    assert (len(cache), cache.nbytes) == (10, 100)
    assert cache.get(0) == "0"
    cache.put(10, "ten", 25)
    assert cache.nbytes <= 100
    assert cache.get(0) == "0"
    assert cache.get(10) == "ten"
    assert [key for key in range(11) if cache.get(key) is None] == [1, 2, 3]


def test_what_is_too_large_is_not_kept() -> None:
    cache: BoundedCache[int, str] = BoundedCache(100)
    cache.put(1, "one", 60)
    cache.put(2, "large", 101)
    assert (cache.get(1), cache.get(2), cache.nbytes) == ("one", None, 60)
    nothing: BoundedCache[int, str] = BoundedCache(0)
    nothing.put(1, "one", 1)
    assert nothing.get(1) is None


def test_replacing_dropping_and_clearing_count_bytes() -> None:
    cache: BoundedCache[int, str] = BoundedCache(100)
    cache.put(1, "one", 60)
    cache.put(1, "another", 20)
    cache.put(2, "two", 30)
    assert (cache.get(1), cache.nbytes) == ("another", 50)
    cache.drop(1)
    cache.drop(1)
    assert (cache.get(1), cache.nbytes) == (None, 30)
    cache.clear()
    assert (len(cache), cache.nbytes, cache.get(2)) == (0, 0, None)
    cache.put(3, "three", 100)
    assert cache.get(3) == "three"


def test_a_gate_that_nobody_opens_again_stops_nobody() -> None:
    """As in a child that was forked while another thread added something."""
    cache: BoundedCache[int, str] = BoundedCache(100)
    cache.put(1, "one", 60)
    cache._content.gate.acquire()
    cache.put(2, "two", 10)
    assert (cache.get(1), cache.get(2)) == ("one", None)
    cache.drop(1)
    assert cache.get(1) is None
    cache.put(2, "two", 10)
    assert cache.get(2) == "two"


def test_threads() -> None:
    cache: BoundedCache[int, int] = BoundedCache(1_000)
    failures: list[BaseException] = []

    def work(seed: int) -> None:
        try:
            for step in range(20_000):
                key = step * seed % 97
                found = cache.get(key)
                assert found is None or found == key
                cache.put(key, key, 10 + key % 7)
                if step % 501 == 0:
                    cache.drop(key)
                if step % 5_003 == 0:
                    cache.clear()
                assert cache.nbytes <= 1_000
        except BaseException as error:
            failures.append(error)
            raise

    threads = [threading.Thread(target=work, args=(seed,)) for seed in (3, 5, 7)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert cache.nbytes == sum(nbytes for _, nbytes, _ in cache._content.entries.values())


def test_a_lock_that_nobody_releases_does_not_end_the_cache() -> None:
    """A child forked in the middle of an addition, or an interrupt as the lock is taken."""
    cache: BoundedCache[int, int] = BoundedCache(100)
    cache.put(0, 1, 10)
    cache._content.gate.acquire()
    for number in range(1, 1_002):
        cache.put(number, number, 10)
    assert cache.get(1_001) == 1_001
    assert cache.nbytes == 10
