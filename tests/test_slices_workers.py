"""Several slices at a time: threads, workers and progress."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from sliced_pictures import picture

from dcacodec.codec.codec import Codec
from dcacodec.codec.parallel import workers
from dcacodec.errors import SymbolMismatchError


@pytest.fixture
def set_threads() -> Iterator[Callable[[int], None]]:
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


@pytest.mark.slow
def test_the_number_of_threads_changes_nothing(codec: Codec, set_threads: Callable[[int], None]) -> None:
    source = picture(300, 530, "RGBA", seed=6)
    results = []
    for threads in (1, 2, 5):
        set_threads(threads)
        data = codec.encode(source, quality=70, slice_log2=8, lossless=False)
        results.append((data, codec.decode(data).pixels.tobytes()))
        assert torch.get_num_threads() == threads
    assert results[0] == results[1] == results[2]


@pytest.mark.slow
def test_two_codecs_at_once(codec: Codec, set_threads: Callable[[int], None]) -> None:
    """Each has its own workers for slices: the bytes are those of one codec, and the number of threads is restored."""
    set_threads(2)
    sources = [picture(300, 520, seed=seed) for seed in range(2)]
    codecs = [codec, Codec(codec.weights, coder=codec.coder)]
    alone = [own.encode(source, quality=60, slice_log2=8) for own, source in zip(codecs, sources, strict=True)]
    start = threading.Barrier(2)

    def work(index: int) -> tuple[list[bytes], int]:
        start.wait(timeout=30)
        files = [codecs[index].encode(sources[index], quality=60, slice_log2=8) for _ in range(3)]
        return files, torch.get_num_threads()

    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(work, range(2)))
    assert [set(files) for files, _ in found] == [{data} for data in alone]
    assert [count for _, count in found] == [2, 2] and torch.get_num_threads() == 2


def test_workers_that_start_at_once_leave_the_count_of_threads_alone(set_threads: Callable[[int], None]) -> None:
    set_threads(3)
    counts: list[int] = []

    def start() -> None:
        with workers(2) as in_order:
            counts.append(sum(in_order(lambda task: task, range(3))))

    for _ in range(20):
        crowd = [threading.Thread(target=start) for _ in range(3)]
        for thread in crowd:
            thread.start()
        for thread in crowd:
            thread.join()
    fresh = threading.Thread(target=lambda: counts.append(torch.get_num_threads()))
    fresh.start()
    fresh.join()
    assert (counts, torch.get_num_threads()) == ([3] * 61, 3)


def test_workers_run_at_the_same_time_and_give_back_in_order(set_threads: Callable[[int], None]) -> None:
    set_threads(2)
    together = threading.Barrier(3)

    def work(task: int) -> tuple[int, int]:
        together.wait(timeout=30)  # passes only where three are at work
        return task, torch.get_num_threads()

    with workers(3) as in_order:
        assert list(in_order(work, range(6))) == [(task, 1) for task in range(6)]
    names = [thread.name for thread in threading.enumerate()]
    assert not any(name.startswith("dcacodec") for name in names)


def test_workers_do_not_run_far_ahead() -> None:
    taken: list[int] = []

    def tasks() -> Iterator[int]:
        for task in range(100):
            taken.append(task)
            yield task

    with workers(2) as in_order:
        for expected, result in enumerate(in_order(int, tasks())):
            assert result == expected
            assert taken[-1] <= expected + 3


def test_tasks_may_wait_for_results_of_the_same_workers() -> None:
    with workers(1) as in_order:
        assert list(in_order(str, in_order(abs, range(-5, 0)))) == ["5", "4", "3", "2", "1"]


def test_an_error_of_a_worker_is_passed_on_and_ends_the_rest() -> None:
    done: list[int] = []

    def work(task: int) -> int:
        if task == 1:
            raise SymbolMismatchError("one")
        done.append(task)
        return task

    with pytest.raises(SymbolMismatchError), workers(1) as in_order:
        list(in_order(work, range(1000)))
    assert done in ([0], [0, 2])


def test_new_threads_of_the_caller_keep_their_number(set_threads: Callable[[int], None]) -> None:
    set_threads(3)
    found: list[int] = []
    with workers(2):
        thread = threading.Thread(target=lambda: found.append(torch.get_num_threads()))
        thread.start()
        thread.join()
    assert found == [3]


@pytest.mark.parametrize(("slice_log2", "slices"), [(0, 1), (8, 6)])
def test_progress(codec: Codec, slice_log2: int, slices: int) -> None:
    steps: list[tuple[int, int]] = []
    data = codec.encode(picture(300, 530), quality=30, progress=lambda *each: steps.append(each), slice_log2=slice_log2)
    assert steps == [(done, slices) for done in range(slices + 1)]
    steps.clear()
    codec.decode(data, progress=lambda *each: steps.append(each))
    assert steps == [(done, slices) for done in range(slices + 1)]
    steps.clear()
    codec.decode(data, region=(0, 0, 20, 20), progress=lambda *each: steps.append(each))
    assert steps == [(0, 1), (1, 1)]
