"""Priority queues: what they sort by, and that it is what Python compares by."""

import dataclasses
import datetime
import enum
import math
import queue
import random
import uuid
from typing import Any

import pytest

import kin.queue

NUMBERS = [
    0, 1, -1, True, False, 0.5, -0.5, 1e-300, -1e-300, 5e-324, -5e-324, -0.0, 1.5, -1.5, 2.5, -2.5,
    2**53, 2**53 + 1, float(2**53), 2**63, 2**63 - 1, 2**63 - 2, -(2**63), -(2**63) + 1,
    -(2**63) - 1, float(2**63), -float(2**63), 2**64, 2**64 - 1, 10**40, -(10**40), 1e40, -1e40,
    10**400, -(10**400), 10**400 + 1, math.inf, -math.inf, 1e308, -1e308, int(1e308), 255, 256,
    -255, -256, 65535, 65536,
]  # fmt: skip
TEXTS = ["", "a", "aa", "ab", "b", "a\0", "a\0\0", "a\0b", "a\1", "\0", "\x7f", "\x80", "é", "z",
         "\u0fff", "\ud800", "\udfff", "\ue000", "\uffff", "\U00010000", "\U0010ffff", "aé",
         "x" * 255, "x" * 256]  # fmt: skip


class Level(enum.IntEnum):
    """Compares as int does."""

    LOW, HIGH = 1, 9


class Word(str):
    """Compares as str does."""




def drained(queue):
    return [queue.get() for _ in range(queue.qsize())]


def as_put(items):
    """What comes out when they are put in that order."""
    priorities = kin.PriorityQueue()
    priorities.put_many(items)
    return drained(priorities)


def check(items, seed=1):
    """As a stable sort has it."""
    items = list(items)
    random.Random(seed).shuffle(items)
    got = as_put(items)
    assert [repr(x) for x in got] == [repr(x) for x in sorted(items)]


def test_numbers():
    check(NUMBERS)
    assert as_put([1, math.nan, math.inf])[:2] == [1, math.inf]


def test_random_numbers():
    generator = random.Random()
    seed = generator.randrange(10**9)
    print("seed", seed)
    generator.seed(seed)
    near = [generator.randrange(-3, 4) for _ in range(200)]
    fractions = [n + generator.choice([0, 0.25, -0.25, generator.random()]) for n in near]
    wide = [generator.uniform(-1, 1) * 2.0 ** generator.randrange(-1074, 1023) for _ in range(300)]
    ints = [generator.randrange(-1, 2) * generator.getrandbits(generator.randrange(1, 130))
            for _ in range(300)]  # fmt: skip
    numbers = near + fractions + wide + ints + [float(n) for n in ints]
    check(numbers, seed)
    check([(n, generator.choice(numbers)) for n in near + numbers[:100]], seed)
    check([(0, n, generator.choice(TEXTS)) for n in near + numbers[:300]], seed)


def test_texts_and_bytes():
    check(TEXTS)
    check([text.encode("utf-8", "surrogatepass") for text in TEXTS])
    check([(text, text2) for text in TEXTS for text2 in TEXTS[:8]])
    check([(bytearray(b"b"),), (b"a",), (b"c",)])


def test_rows():
    check([(), (1,), (1, ()), (1, (1,)), (1, (1, 2)), (1, (2,)), (0, "x"), (2,)])
    check([("a", 1), ("a", 0.5), ("a",), ("", 3), ("a", 1, None), ("ab",)])
    check([[2, "x"], [1], [], [1, 2.5]])
    check([((1, "a"), 2), ((1,), 3), ((1, "a"), 1), ((), 0)])
    check([(1, None, 2), (1, None, 1), (0, None, 3)])


def test_whole_items_and_first_elements_are_sorted_together():
    assert as_put([(2, "b"), 2, (1.5, "c"), 1, None]) == [1, (1.5, "c"), 2, (2, "b"), None]


def test_types_that_compare_as_these_do():
    check([Level.HIGH, 3, Level.LOW, 0])
    check([Word("b"), "a", Word("c")])
    check([(Level.HIGH, 1), (3, 0)])
    day = datetime.date(2024, 2, 29)
    check([day, datetime.date.min, datetime.date.max])
    check([(datetime.timedelta(n), n) for n in (3, -1, 0)])
    check([datetime.time(3, 4), datetime.time(3, 4, 0, 1), datetime.time(0)])
    check([datetime.datetime(2024, 1, 1, second=n, microsecond=m) for n in (3, 1) for m in (7, 0)])
    zones = [datetime.timezone(datetime.timedelta(hours=n)) for n in (0, 5, -7)]
    check([datetime.datetime(2024, 1, 1, 5, n, tzinfo=zone) for n in (1, 0) for zone in zones])
    check([datetime.time(12, n, tzinfo=zone) for n in (1, 0) for zone in zones])
    check([datetime.datetime.max.replace(tzinfo=zones[2]),
           datetime.datetime.min.replace(tzinfo=zones[1])])  # fmt: skip
    check([uuid.UUID(int=n) for n in (2**127, 5, 2**64)])


@dataclasses.dataclass(order=True)
class Prioritized:
    """As in the documentation of queue."""

    priority: int
    item: Any = dataclasses.field(compare=False)


@dataclasses.dataclass(order=True, frozen=True)
class Version:
    """All of its fields count."""

    major: int
    minor: float = 0
    tag: str = ""


@dataclasses.dataclass
class Plain:
    """Cannot be compared."""

    n: int


def test_dataclasses():
    items = [Prioritized(n, Plain(-n)) for n in (3, 1, 2)]
    assert [x.priority for x in as_put(items)] == [1, 2, 3]
    check([Version(1, 0.5), Version(1), Version(0, 9), Version(1, 0.5, "a"), Version(2)])
    check([(1, Version(2)), (1, Version(1)), (0, Version(3))])
    with pytest.raises(TypeError, match="Plain"):
        kin.PriorityQueue().put(Plain(1))


class Backwards(int):
    """An order of its own."""

    def __lt__(self, other):
        return int(self) > int(other)


@pytest.mark.parametrize("item", [
    Plain(1), object(), {}, {1}, 1j, Backwards(3), (Plain(1), 1), ((Plain(1),), 1),
    (((Plain(1), 2),),), (Backwards(3),), [{}], kin.queue.Queue, print,
])  # fmt: skip
def test_what_has_no_order_is_refused(item):
    priorities = kin.PriorityQueue()
    with pytest.raises(TypeError, match="sorted by numbers.*priority=.*key="):
        priorities.put(item)
    assert priorities.empty()


def test_a_row_is_compared_up_to_what_has_no_order():
    items = [(1, {"b": 1}), (1, {"a": 1}), (0, Plain(2)), (1, {"a": 0}, 0)]
    assert as_put(items) == [(0, Plain(2)), *items[:2], items[3]]
    many = [(1, "x" * 5000 + end) for end in "ba"]
    assert as_put([*many, (1, "x" * 4000)]) == [(1, "x" * 4000), *many]


def test_a_row_without_an_end():
    row = [1]
    row.append(row)
    other = [0, row]
    assert [item[0] for item in as_put([row, other])] == [0, 1]
    row = []
    row.append(row)
    with pytest.raises(TypeError, match="not by list"):
        kin.PriorityQueue().put(row)


def test_priority_and_key():
    priorities = kin.PriorityQueue(key=lambda item: -item["n"])
    for n in (1, 3, 2):
        priorities.put({"n": n})
    priorities.put({"n": 0}, priority=(-2.5, "x"))
    assert [x["n"] for x in drained(priorities)] == [3, 0, 2, 1]
    with pytest.raises(KeyError):
        priorities.put({})
    raw = kin.PriorityQueue(raw=True)
    raw.put_many([b"b", b"a"])
    raw.put(b"c", priority=-1)
    assert drained(raw) == [b"c", b"a", b"b"]


def length(item):
    """As a function, so that it is found by name."""
    return len(item)


def put_words(priorities, words):
    """In a child."""
    for word in words:
        priorities.put(word)


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_between_processes(method):
    context = kin.get_context(method)
    priorities = context.PriorityQueue(key=length)
    child = context.Process(target=put_words, args=(priorities, ["ccc", "a", "bb", "d" * 9000]))
    child.start()
    child.join()
    assert drained(priorities) == ["a", "bb", "ccc", "d" * 9000]


def test_what_comes_back_is_sorted_in(only_kin):
    """A consumer dies with what it was about to have: it comes first again."""
    priorities = only_kin.PriorityQueue()
    items = [("b", "x" * 5000), ("a", "y" * 5000), ("c", "z" * 5000)]
    for item in items:
        priorities.put((item[0], Deadly(item[1])))
    child = only_kin.Process(target=priorities.get)
    child.start()
    child.join()
    assert child.exitcode == -9
    Deadly.armed = False
    assert [item[0] for item in drained(priorities)] == ["a", "b", "c"]


class Deadly:
    """Kills who unpickles it."""

    armed = True

    def __init__(self, text):
        self.text = text

    def __reduce__(self):
        return strike, (self.text,)


def strike(text):
    """As a function, so that it is found by name."""
    if Deadly.armed:
        import os
        import signal

        os.kill(os.getpid(), signal.SIGKILL)
    return text


def test_numbers_of_numpy():
    numpy = pytest.importorskip("numpy")
    check([numpy.float64(2.5), 1, numpy.float64(-1), 2])
    check([(numpy.int64(5), "x"), (4, "y"), (numpy.float32(4.5), "z"), (numpy.uint8(3), "w")])
    array = numpy.zeros(3)
    assert [len(item) for item in as_put([(1, array), (0, array, 2)])] == [3, 2]
