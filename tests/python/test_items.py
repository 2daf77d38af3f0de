"""Items on their way through queues and pipes: what goes in comes out."""

import collections
import enum
import math
import os
import pickle
import random
from multiprocessing.reduction import ForkingPickler

import pytest

import kin


class Colour(enum.IntEnum):
    """Not an int."""

    RED = 1


class Text(str):
    """Not a str."""


Point = collections.namedtuple("Point", "x y")

ITEMS = [
    None, True, False, 0, -1, 2**63 - 1, -(2**63), 2**63, -(2**63) - 1, 10**50,
    0.0, -0.0, 1.5, math.inf, -math.inf, "", "a", "hello", "ä", "日本", "\0", "\ud800", "x" * 254,
    "x" * 255, "x" * 5000, "ä" * 5000, b"", b"\xff", b"x" * 254, b"x" * 255, b"x" * 4085,
    b"x" * 4096, b"x" * 100_000, bytearray(b"abc"), (), (1,), (1, ("a", (b"b", None))), [], [1, [2]],
    {}, {"a": 1, 2: [3], (4, 5): {"b": None}}, list(range(300)), tuple(range(300)),
    {i: str(i) for i in range(300)}, {1, 2}, frozenset([1]), Colour.RED, Text("t"), Point(1, 2),
    collections.OrderedDict(a=1), [Point(1, 2), {"c": Colour.RED}], 1j, range(3), len, Colour,
    [[[[[[[[[[1]]]]]]]]]], ((((((((1,),),),),),),),),
]


def same(a, b):
    """Equal, with equal types all the way down."""
    if type(a) is not type(b) or a != b:
        return False
    if isinstance(a, (tuple, list)):
        return all(map(same, a, b))
    if isinstance(a, dict):
        return all(map(same, a.keys(), b.keys())) and all(map(same, a.values(), b.values()))
    return not isinstance(a, float) or math.copysign(1, a) == math.copysign(1, b)


@pytest.fixture(params=["Queue", "SimpleQueue", "LifoQueue", "Pipe", "many"])
def through(request, only_kin):
    """A function that sends an item through something."""
    if request.param == "Pipe":
        ours, theirs = only_kin.Pipe()
        return lambda item: (ours.send(item), theirs.recv())[1]
    queue = only_kin.Queue() if request.param == "many" else getattr(only_kin, request.param)()
    if request.param == "many":
        return lambda item: (queue.put_many([item]), queue.get_many(1)[0])[1]
    return lambda item: (queue.put(item), queue.get())[1]


def test_items(through):
    for item in ITEMS:
        assert same(through(item), item), item
    assert math.isnan(through(math.nan))


def test_random_items(through):
    seed = random.getrandbits(64)
    print("seed", seed)
    source = random.Random(seed)

    def make(depth):
        kind = source.randrange(5 if depth == 0 else 8)
        if kind == 0:
            return source.choice([None, True, False, source.random()])
        if kind == 1:
            return source.getrandbits(source.randrange(1, 70)) - source.getrandbits(8)
        if kind == 2:
            return "".join(map(chr, source.choices(range(0xD800), k=source.randrange(20))))
        if kind == 3:
            return source.randbytes(source.randrange(300))
        if kind == 4:
            return "x" * source.randrange(300)
        count = source.randrange(5)
        if kind == 5:
            return tuple(make(depth - 1) for _ in range(count))
        if kind == 6:
            return [make(depth - 1) for _ in range(count)]
        return {str(i): make(depth - 1) for i in range(count)}

    for _ in range(500):
        item = make(source.randrange(9))
        assert same(through(item), item)


def test_what_is_shared_stays_shared(through):
    part = [1]
    first, second = through([part, part])
    assert first is second
    one, other = through((((part,), 1), {"a": part}))
    assert one[0][0] is other["a"]
    loop = []
    loop.append(loop)
    got = through(loop)
    assert got[0] is got
    loop = {}
    loop["self"] = (loop,)
    got = through(loop)
    assert got["self"][0] is got


class Registered:
    """Pickled by whatever was registered last."""


def test_functions_that_are_registered_later(through):
    assert isinstance(through(Registered()), Registered)
    try:
        for text in ("one", "two"):
            ForkingPickler.register(Registered, lambda _, text=text: (str, (text,)))
            assert through(Registered()) == text
    finally:
        del ForkingPickler._extra_reducers[Registered]
    assert isinstance(through(Registered()), Registered)


class Nested:
    """Sends something else while it is pickled."""

    def __init__(self, through):
        self.through = through

    def __reduce__(self):
        return str, (self.through(Registered()).__class__.__name__,)


def test_pickling_within_pickling(only_kin):
    queue, other = only_kin.Queue(), only_kin.Queue()
    queue.put(Nested(lambda item: (other.put(item), other.get())[1]))
    assert queue.get() == "Registered"
    assert other.empty()


def test_an_error_leaves_nothing_behind(through):
    for _ in range(3):
        with pytest.raises((AttributeError, pickle.PicklingError, TypeError)):
            through([Registered(), lambda: 0])
        assert isinstance(through(Registered()), Registered)


def test_damaged_items(only_kin):
    """Whatever bytes come, an exception at the worst."""
    seed = random.getrandbits(64)
    print("seed", seed)
    source = random.Random(seed)
    ours, theirs = only_kin.Pipe()
    for text in (b"", b"\xff", b"\xffx", b"\xffi12", b"\xffb\xff\xff\xff\xff\xff", b"\xffNN",
                 b"\xfft\xff\xff\xff\xff\x7f", b"\xffl\x05N", b"\xff" + b"t\x01" * 1000 + b"N",
                 b"\xffd\x01l\x00N", b"\xffu\x01\x80"):
        ours.send_bytes(text)
        with pytest.raises((ValueError, EOFError, TypeError)):
            theirs.recv()
    for _ in range(3000):
        length = source.randrange(40)
        text = bytes(source.choices(b"NTFifaubtld\x00\x01\x02\x03\xff", k=length))
        ours.send_bytes(b"\xff" + text)
        try:
            theirs.recv()
        except (ValueError, TypeError):
            pass


def test_no_references_are_kept(only_kin):
    queue = only_kin.Queue()
    part = Registered()
    import sys

    before = sys.getrefcount(part)
    queue.put([part])
    queue.put((part, b"x" * 10_000))
    queue.get(), queue.get()
    assert sys.getrefcount(part) == before


def test_bytes_from_a_child(mp):
    queue = mp.Queue()
    process = mp.Process(target=lambda: [queue.put(os.urandom(1) * n) for n in (1, 5000, 10**6)])
    process.start()
    assert [len(queue.get(timeout=30)) for _ in range(3)] == [1, 5000, 10**6]
    process.join()
    assert queue.empty()
    assert kin.Queue().empty()
