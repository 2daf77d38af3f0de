"""Value, Array, RawValue, RawArray."""

import array
import ctypes
import os
import signal

import pytest

import kin
import kin.sharedctypes

LETTERS = "bBhHiIlLqQfd"


class Point(ctypes.Structure):
    """A struct."""

    _fields_ = [("x", ctypes.c_int), ("y", ctypes.c_double)]


def run(mp, target):
    """In a child, to its end."""
    process = mp.Process(target=target)
    process.start()
    process.join(60)
    assert process.exitcode == 0


def test_values(mp):
    for letter in LETTERS:
        value = mp.Value(letter, 7)
        raw = mp.RawValue(letter, 3)
        assert value.value == 7 and raw.value == 3 and mp.RawValue(letter).value == 0

        def child(value=value, raw=raw):
            value.value += 1
            raw.value += 1

        run(mp, child)
        assert value.value == 8 and raw.value == 4
        assert type(value.get_obj()) is type(raw)
    assert mp.Value("c", b"x").value == b"x"
    assert mp.Value("u", "x").value == "x"
    assert mp.Value(ctypes.c_bool, True).value is True
    assert mp.Value("B", 300).value == 300 % 256


def test_a_struct(mp):
    point = mp.Value(Point, 1, 2.5)

    def child():
        with point.get_lock():
            point.x += 1
            point.get_obj().y = 7.5

    run(mp, child)
    assert (point.x, point.y) == (2, 7.5)
    points = mp.Array(Point, [(1, 2.0), (3, 4.0)])
    assert [(p.x, p.y) for p in points] == [(1, 2.0), (3, 4.0)]
    points[0].x = 9
    assert points[0].x == 9
    raw = mp.RawValue(Point, 5)
    assert (raw.x, raw.y) == (5, 0.0)


def test_arrays(mp):
    for letter in LETTERS:
        items = mp.Array(letter, 5)
        assert len(items) == 5 and items[:] == [0] * 5

        def child(items=items):
            items[0] = 1
            items[-1] = 2
            items[1:3] = [7, 8]

        run(mp, child)
        assert items[:] == [1, 7, 8, 0, 2]
        assert list(items) == [1, 7, 8, 0, 2] and items[1:4:2] == [7, 0]
    assert mp.RawArray("d", [0.5, 1.5])[:] == [0.5, 1.5]
    assert mp.RawArray("i", array.array("i", range(9)))[:] == list(range(9))
    assert mp.RawArray("i", array.array("h", range(9)))[:] == list(range(9))
    assert mp.Array("i", range(4))[:] == [0, 1, 2, 3]
    assert len(mp.Array("i", 0)) == 0


def test_strings(mp):
    text = mp.Array("c", b"hello")
    assert text.value == b"hello" and text.raw == b"hello"
    text.value = b"hi"
    assert text.raw == b"hi\0lo" and text.value == b"hi"
    assert mp.Array("u", "abc")[:] == "abc"


def test_locks(mp):
    value = mp.Value("i", 0)

    def child():
        for _ in range(200):
            with value.get_lock():
                value.value += 1

    children = [mp.Process(target=child) for _ in range(3)]
    for process in children:
        process.start()
    for process in children:
        process.join()
    assert value.value == 600
    lock = mp.Lock()
    assert mp.Value("i", 1, lock=lock).get_lock() is lock
    assert mp.Array("i", 1, lock=lock).get_lock() is lock
    for raw in (mp.Value("i", 1, lock=False), mp.Array("i", 1, lock=False)):
        assert not hasattr(raw, "get_lock") and not hasattr(raw, "get_obj")
    with value:
        assert value.acquire(timeout=1)
        value.release()


def test_errors(mp):
    items = mp.Array("i", 3)
    with pytest.raises(IndexError):
        items[3]
    with pytest.raises(ValueError):
        items[0:2] = [1]
    with pytest.raises(TypeError):
        items[0] = "x"
    with pytest.raises(TypeError):
        mp.Value("x", 1)
    with pytest.raises(TypeError):
        mp.Value("i", "x")
    with pytest.raises(TypeError):
        mp.Value("i", 1, 2)
    with pytest.raises(AttributeError):
        mp.Value("i", lock="not a lock")
    with pytest.raises(ValueError):
        mp.Array("i", -1)
    with pytest.raises(TypeError):
        mp.Array("i", None)
    with pytest.raises(TypeError):
        mp.Array("c", 2)[0] = "xy"


@pytest.mark.parametrize("kind", ["Value", "RawValue", "Array", "RawArray"])
def test_what_is_no_type_is_named(only_kin, kind):
    for wrong in ("x", int, 5):
        with pytest.raises(TypeError, match=f"bad typecode {wrong!r}"):
            getattr(only_kin, kind)(wrong, 3)


def test_the_bytes_are_reachable(mp):
    items = mp.RawArray("i", range(4))
    view = memoryview(items)
    assert view.nbytes == 16 and view.itemsize == 4
    view.cast("B").cast("i")[1] = 7
    assert items[1] == 7
    assert ctypes.cast(items, ctypes.POINTER(ctypes.c_int))[1] == 7
    value = mp.RawValue("d", 1.5)
    assert ctypes.pointer(value)[0] == 1.5


def test_copy_and_synchronized():
    point = kin.RawValue(Point, 1, 2.0)
    other = kin.sharedctypes.copy(point)
    point.x = 9
    assert (other.x, other.y) == (1, 2.0)
    assert kin.sharedctypes.copy(kin.RawArray("i", [1, 2]))[:] == [1, 2]
    whole = kin.sharedctypes.synchronized(point)
    assert whole.x == 9 and isinstance(whole.get_lock(), kin.synchronize.RLock)
    with pytest.raises(AssertionError):
        kin.sharedctypes.synchronized(whole)


# --- what only kin has ------------------------------------------------------------------------


def test_atomic_steps(only_kin):
    value = only_kin.Value("q", 0)

    def child():
        nonlocal value
        for _ in range(1000):
            value += 1
            value.add(2)

    children = [only_kin.Process(target=child) for _ in range(3)]
    for process in children:
        process.start()
    for process in children:
        process.join()
    assert value.value == 9000
    assert value.exchange(5) == 9000 and value.sub(1) == 5 and value.max(9) == 4
    assert value.min(7) == 9 and value.or_(8) == 7 and value.and_(12) == 15 and value.xor(4) == 12
    assert value.compare_exchange(8, 1) and not value.compare_exchange(8, 2)
    assert value.value == 1
    number = only_kin.Value("d", 0.5)
    number += 1
    assert number.value == 1.5 and number.max(9) == 1.5
    top = only_kin.Value("Q", 2**64 - 1)
    assert top.add(1) == 2**64 - 1 and top.value == 0
    for letter, wrong in (("b", 128), ("Q", 2**64), ("B", 2**70)):
        with pytest.raises(OverflowError):
            only_kin.Value(letter).exchange(wrong)
    with pytest.raises(TypeError):
        number.or_(1)


class Index:
    """As the numbers of numpy are."""

    def __init__(self, number):
        self.number = number

    def __index__(self):
        return self.number


@pytest.mark.parametrize("letter", "BHILQ")
def test_atomic_steps_without_a_sign(only_kin, letter):
    value = only_kin.Value(letter, 7)
    top = 2 ** (8 * ctypes.sizeof(value.get_obj())) - 1
    for wrong in (-1, -(2**63), -(2**70), top + 1, 10**5000):
        for step in (value.exchange, value.min, value.max):
            with pytest.raises(OverflowError):
                step(wrong)
        for pair in ((wrong, 1), (7, wrong)):
            with pytest.raises(OverflowError):
                value.compare_exchange(*pair)
    assert value.value == 7
    assert value.add(-8) == 7 and value.value == top  # sums wrap around
    assert value.and_(-2) == top and value.exchange(Index(top)) == top - 1
    assert value.min(Index(top - 1)) == top and value.compare_exchange(Index(top - 1), Index(top))
    assert value.value == top


def test_wait_for_a_change(only_kin):
    value = only_kin.Value("i", 0)
    assert not value.wait(0, timeout=0.01) and value.wait(1)

    def child():
        assert value.wait(0, timeout=30)
        value.add(1)

    process = only_kin.Process(target=child)
    process.start()
    value.add(1)
    while value.wait(1) and value.value != 2:
        pass
    process.join()


def test_a_holder_that_dies(only_kin):
    items = only_kin.Array("i", 3)

    def child():
        items.get_lock().acquire()
        os.kill(os.getpid(), signal.SIGKILL)

    process = only_kin.Process(target=child)
    process.start()
    process.join()
    assert items.get_lock().acquire(timeout=30)
    assert items.get_lock().abandoned == 1


def test_a_large_array_costs_what_is_touched():
    items = kin.RawArray("d", 1 << 28)
    items[-1] = 1.0
    assert items[-1] == 1.0 and items[0] == 0.0


def test_a_float_is_exchanged_if_it_is_what_is_expected():
    for kind in "fd":
        value = kin.Value(kind, 0.1)
        assert not value.compare_exchange(0.2, 5)
        assert value.compare_exchange(0.1, 2.5) and value.value == 2.5
        with pytest.raises(TypeError):
            value.compare_exchange("2.5", 1)
        with pytest.raises(TypeError):
            value.compare_exchange(2.5, None)
        assert value.value == 2.5
