"""Batches read in a thread while the batch before is used."""

from __future__ import annotations

import threading

import pytest

from experiments.recipes.read_ahead import read_ahead


def test_batches_keep_their_order():
    assert list(read_ahead(range(5))) == [0, 1, 2, 3, 4]
    assert list(read_ahead([])) == []
    assert list(read_ahead([None, False])) == [None, False]


def test_next_batch_is_read_while_one_is_used():
    second_is_read = threading.Event()

    def batches():
        yield 1
        second_is_read.set()
        yield 2

    for batch in read_ahead(batches()):
        assert second_is_read.wait(timeout=60), batch


def test_error_is_raised_at_its_batch():
    def batches():
        yield 1
        raise ValueError("image file 'a.jpg' is damaged")

    reader = read_ahead(batches())
    assert next(reader) == 1
    with pytest.raises(ValueError, match=r"'a\.jpg' is damaged"):
        next(reader)


def test_reading_stops_with_the_loop():
    read = []

    def batches():
        for number in range(100):
            read.append(number)
            yield number

    reader = read_ahead(batches())
    for batch in reader:
        if batch == 3:
            break
    reader.close()
    assert read == [0, 1, 2, 3, 4]
