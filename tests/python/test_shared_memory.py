"""SharedMemory and ShareableList: what the standard library does, and blocks that outlive nobody."""

import ctypes
import errno
import multiprocessing
import multiprocessing.shared_memory
import os
import pickle
import signal
import subprocess
import sys

import pytest

import kin
import kin.shared_memory

METHODS = ["fork", "spawn", "forkserver"]


@pytest.fixture(params=["multiprocessing", "kin"])
def module(request):
    """One implementation after the other."""
    return multiprocessing.shared_memory if request.param == "multiprocessing" else kin.shared_memory


@pytest.fixture
def block(module):
    """A block of 100 bytes."""
    made = module.SharedMemory(create=True, size=100)
    yield made
    made.close()
    try:
        made.unlink()
    except FileNotFoundError:
        pass


def test_attach_by_name(module, block):
    block.buf[:5] = b"howdy"
    other = module.SharedMemory(block.name)
    assert bytes(other.buf[:5]) == b"howdy"
    other.buf[0] = ord("H")
    other.close()
    assert other.buf is None
    other.close()
    assert bytes(block.buf[:5]) == b"Howdy"
    assert block.name in repr(block) and "size=100" in repr(block)
    assert bytes(block.buf[5:100]) == bytes(95)


def test_errors(module, block):
    with pytest.raises(FileExistsError):
        module.SharedMemory(block.name, create=True, size=100)
    with pytest.raises(FileExistsError):
        module.SharedMemory(block.name, create=True, size=99)
    with pytest.raises(FileNotFoundError):
        module.SharedMemory("nobody-%d" % os.getpid())
    with pytest.raises(OSError):
        module.SharedMemory("x" * 300, create=True, size=1)
    for arguments in ({"create": True, "size": -1}, {"create": True, "size": 0}, {"create": True}, {}):
        with pytest.raises(ValueError):
            module.SharedMemory(**arguments)


def test_name_is_free_after_unlink(module):
    name = "again-%d" % os.getpid()
    first = module.SharedMemory(name, create=True, size=10)
    first.buf[0] = 1
    first.unlink()
    with pytest.raises(FileNotFoundError):
        module.SharedMemory(name)
    second = module.SharedMemory(name, create=True, size=10)
    assert second.buf[0] == 0 and first.buf[0] == 1
    first.close()
    second.close()
    second.unlink()
    with pytest.raises(FileNotFoundError):
        second.unlink()


def test_created_and_closed_is_there_still(module, block):
    block.buf[3] = 7
    block.close()
    again = module.SharedMemory(block.name)
    assert again.buf[3] == 7
    again.close()


def test_pickle(module, block):
    same = pickle.loads(pickle.dumps(block))
    same.buf[0] = 9
    assert block.buf[0] == 9 and same.name == block.name
    same.close()


def test_list(module):
    values = ["howdy", b"HoWdY", -273.154, 100, None, True, 42]
    ours = module.ShareableList(values)
    same = module.ShareableList(name=ours.shm.name)
    assert list(same) == values and len(same) == 7
    same[3] = 42
    same[0] = "short"
    assert ours[3] == 42 and ours[0] == "short" and ours.count(42) == 2 and ours.index(None) == 4
    with pytest.raises(IndexError):
        ours[7]
    with pytest.raises(ValueError):
        ours[0] = "far too long for its place"
    again = pickle.loads(pickle.dumps(ours))
    assert type(again) is module.ShareableList and list(again) == list(ours)
    for each in (again, same, ours):
        each.shm.close()
    ours.shm.unlink()


def write(by_name, by_handle, items):
    """In a child: into a block by name, one that was handed over, and a list."""
    memory = kin.shared_memory.SharedMemory(by_name)
    memory.buf[:5] = b"howdy"
    memory.close()
    by_handle.buf[:5] = b"HELLO"
    items[0] = 77


@pytest.mark.parametrize("method", METHODS)
def test_children(method):
    context = kin.get_context(method)
    first = kin.shared_memory.SharedMemory(create=True, size=100)
    second = kin.shared_memory.SharedMemory(create=True, size=100)
    items = kin.shared_memory.ShareableList([1, 2])
    child = context.Process(target=write, args=(first.name, second, items))
    child.start()
    child.join()
    assert child.exitcode == 0
    assert bytes(first.buf[:5]) == b"howdy" and bytes(second.buf[:5]) == b"HELLO" and items[0] == 77
    for block in (first, second, items.shm):
        block.close()
        block.unlink()


def hold(name, pipe):
    """In a child: use the block, and wait to be killed."""
    memory = kin.shared_memory.SharedMemory(name)
    memory.buf[0] += 1
    pipe.send("held")
    pipe.recv()


def make_and_die(pipe):
    """In a child: make a block, and be killed when somebody else has it."""
    memory = kin.shared_memory.SharedMemory(create=True, size=1000)
    memory.buf[0] = 5
    pipe.send(memory.name)
    pipe.recv()
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_user_that_ends_takes_nothing_along(only_kin):
    """cpython#82300: who attaches and ends does not destroy the block of its owner."""
    block = kin.shared_memory.SharedMemory(create=True, size=10)
    for _ in range(2):
        here, there = only_kin.Pipe()
        child = only_kin.Process(target=hold, args=(block.name, there))
        child.start()
        assert here.recv() == "held"
        child.kill()
        child.join()
    assert block.buf[0] == 2
    assert kin.shared_memory.SharedMemory(block.name).buf[0] == 2
    block.unlink()


def test_last_user_was_killed(only_kin):
    here, there = only_kin.Pipe()
    child = only_kin.Process(target=make_and_die, args=(there,))
    child.start()
    name = here.recv()
    block = kin.shared_memory.SharedMemory(name)
    here.send("die")
    child.join()
    assert child.exitcode == -signal.SIGKILL
    assert block.buf[0] == 5  # it is there for us
    with pytest.raises(FileExistsError):
        kin.shared_memory.SharedMemory(name, create=True, size=10)
    block.close()
    with pytest.raises(FileNotFoundError):  # and gone with us
        kin.shared_memory.SharedMemory(name)


def test_views_outlive_close():
    """BufferError in close, and in __del__: not here."""
    block = kin.shared_memory.SharedMemory(create=True, size=100)
    view = block.buf[10:20]
    block.close()
    block.unlink()
    view[0] = 9
    assert bytes(view) == b"\x09" + bytes(9)


def test_two_make_one_name(only_kin):
    """Of many that create the same name at once one has it."""
    name, count = "race-%d" % os.getpid(), 8
    barrier, results = only_kin.Barrier(count), only_kin.Queue()

    def race():
        for _ in range(50):
            barrier.wait()
            try:
                block = kin.shared_memory.SharedMemory(name, create=True, size=64)
                results.put(1)
            except FileExistsError:
                block = None
                results.put(0)
            barrier.wait()
            if block is not None:
                block.unlink()
                block.close()

    children = [only_kin.Process(target=race) for _ in range(count)]
    for child in children:
        child.start()
    assert sum(results.get() for _ in range(50 * count)) == 50
    for child in children:
        child.join()
        assert child.exitcode == 0


@pytest.mark.parametrize("size", [1 << 45, 1 << 47, 1 << 48, 1 << 60, 1 << 62, (1 << 63) - 64, (1 << 63) - 1])
def test_more_than_memory_is_an_error(size):
    """Not a signal at the first touch (cpython#114390)."""
    with pytest.raises(OSError, match="no memory for a block of") as raised:
        kin.shared_memory.SharedMemory(create=True, size=size)
    assert raised.value.errno == errno.ENOMEM
    with pytest.raises(OverflowError):
        kin.shared_memory.SharedMemory(create=True, size=1 << 63)


@pytest.mark.parametrize("typecode", ["i", "c"])
def test_an_array_has_the_name(typecode):
    """Whatever is in it: it is no block that is about to lose its name."""
    arena = kin.open("blocks-%d" % os.getpid())
    for length in (1, 16, 100):
        array = arena.array("array", typecode, length)
        ctypes.memset(ctypes.addressof(array.get_obj()), 2, 1)
        with pytest.raises(FileExistsError):
            arena.shared_memory("array", create=True, size=30)
        with pytest.raises(FileNotFoundError):
            arena.shared_memory("array")
        again = arena.array("array", typecode, length)
        assert ctypes.string_at(ctypes.addressof(again.get_obj())) == b"\2"
        del array, again


def test_strangers(tmp_path):
    name = "blocks-%d" % os.getpid()
    block = kin.open(name).shared_memory("block", create=True, size=10)
    code = f"import kin; kin.open({name!r}).shared_memory('block').buf[0] = 3"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=50)
    assert block.buf[0] == 3
    block.unlink()


def test_installed(tmp_path):
    """A program that says multiprocessing has them, its managers too."""
    script = tmp_path / "script.py"
    script.write_text(
        "from multiprocessing import shared_memory\n"
        "from multiprocessing.managers import SharedMemoryManager\n"
        "if __name__ == '__main__':\n"
        "    with SharedMemoryManager() as manager:\n"
        "        block = manager.SharedMemory(10)\n"
        "        items = manager.ShareableList([1, 'two'])\n"
        "        print(type(block).__module__, type(items).__module__, list(items))\n"
        "    try:\n"
        "        shared_memory.SharedMemory(block.name)\n"
        "    except FileNotFoundError:\n"
        "        print('gone')\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "kin", script], capture_output=True, text=True, timeout=50, check=False
    )
    assert done.stderr == ""
    assert done.stdout == "kin.shared_memory kin.shared_memory [1, 'two']\ngone\n"
