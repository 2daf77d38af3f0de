# SPDX-License-Identifier: MIT
"""Faults planted on purpose: the kill harness must find each of them.

mutants.py SOURCE_ROOT WORK_DIR COMPILER...    (KIN_MUTANTS=folder/: only those of these sources)

Each fault is one exact replacement in one file; a text that is not there exactly once is an error,
so a fault cannot get lost when the sources change. The sources are copied first, so that they may
be edited while this runs. The changed file (or, for a header, what includes it) is compiled,
linked with the rest, and the named programs must report a failure.

Known to be harmless, and so not planted: leaving out the WON mark. A claim that is known to be won
is resolved without a look at the living; without the mark the look is taken, and at worst the
reaper waits for a living rival.
"""
import concurrent.futures
import os
import pathlib
import shutil
import subprocess
import sys
import time

WORK = pathlib.Path(sys.argv[2]).absolute()
ROOT = WORK / "sources"
CC = sys.argv[3:]
FLAGS = ["-std=gnu11", "-O1", "-g1", "-D_GNU_SOURCE", "-pthread", "-w",
         f"-I{ROOT}/include", f"-I{ROOT}/tests"]
PROGRAMS = ["kill_queue", "kill_queue_pairs", "kill_growth", "kill_blocks", "kill_wait",
            "kill_objects", "kill_join", "kill_lock", "kill_semaphore", "kill_sync",
            "kill_condition", "kill_sync_pairs", "kill_condition_pairs"]
SECONDS = 240

# name, file, what is there, what is put in its place, [(program, scenarios)]
MUTANTS = [
    ("a dead producer's cell is not skipped", "chan/recover.c",
     "    kini_cas_sc(&cell->seq, &seq, (p + 1) | KINI_CELL_SKIP);\n", "",
     [("kill_queue", "put behind others")]),
    ("no look at the living before a skip", "chan/recover.c",
     "    if (!won && living_intent(self, dead, op, p))\n        return -EAGAIN;\n"
     "    kini_add_sc(&queue->skips_made", "    kini_add_sc(&queue->skips_made",
     [("kill_queue_pairs", "put and put")]),
    ("no look at the living before a redelivery", "chan/recover.c",
     "        if (!won && living_intent(self, dead, op, p))\n            return -EAGAIN;\n"
     "        bool tombstone", "        bool tombstone",
     [("kill_queue_pairs", "get and get")]),
    ("no look at the living before what was taken back is marked again", "chan/recover.c",
     "        if (!won && living_intent(self, dead, op, p))\n            return -EAGAIN;\n"
     "        requeue_block(self, segment, cell, taken",
     "        requeue_block(self, segment, cell, taken",
     [("kill_queue_pairs", "get and get again")]),
    ("the intent of a put that tries again is written after the claim", "chan/ring.c",
     "        kini_intend(self, KINI_OP(KINI_OP_PUT, kini_offset(queue->handle.arena, segment)), t);\n",
     "        if (kini_load(&self->shm->op) == 0)\n"
     "            kini_intend(self, KINI_OP(KINI_OP_PUT, kini_offset(queue->handle.arena, segment)), t);\n",
     [("kill_queue_pairs", "put and put")]),
    ("the intent of a get that tries again is written after the claim", "chan/ring.c",
     "        kini_intend(self, KINI_OP(KINI_OP_GET, kini_offset(queue->handle.arena, segment)), h);\n"
     "        struct kini_cell_shm *cell = kini_cell(segment, h);\n"
     "        uint64_t seq = kini_load_acq(&cell->seq); /* pairs with publish */\n",
     "        if (kini_load(&self->shm->op) == 0)\n"
     "            kini_intend(self, KINI_OP(KINI_OP_GET, kini_offset(queue->handle.arena, segment)), h);\n"
     "        struct kini_cell_shm *cell = kini_cell(segment, h);\n"
     "        uint64_t seq = kini_load_acq(&cell->seq); /* pairs with publish */\n",
     [("kill_queue_pairs", "get and get")]),
    ("no intent at all before taking back", "chan/recover.c",
     "    kini_intend(self, KINI_OP(KINI_OP_TAKE_BACK, kini_offset(self->arena, segment)), p);\n", "",
     [("kill_queue", "get again")]),
    ("the cell is released before the block is adopted", "chan/ring.c",
     "    int64_t bytes = kini_ring_finish_take(self, cell, taker);\n    kini_compiler_barrier();\n",
     "    kini_store_rel(&cell->seq, h + segment->cap);\n"
     "    int64_t bytes = kini_ring_finish_take(self, cell, taker);\n    kini_compiler_barrier();\n",
     [("kill_queue", "get a block of another")]),
    ("an item in the hands of the dead is not marked", "chan/recover.c",
     "        kini_cas_sc(&cell->seq, &seq, tombstone ? p + segment->cap : "
     "(p + 1) | KINI_CELL_BACK);\n", "",
     [("kill_queue", "get")]),
    ("an item taken back by the dead is not marked", "chan/recover.c",
     "        kini_cas_sc(&cell->seq, &taken, (p + 1) | KINI_CELL_BACK);\n", "",
     [("kill_queue", "get again")]),
    ("a redelivered block stays the dead's", "chan/recover.c",
     "        if (!tombstone)\n            requeue_block(self, segment, cell, seq, p, slot_of(dead));\n",
     "", [("kill_queue", "get a block of another")]),
    ("blocks are swept before the queues are repaired", "arena/reaper.c",
     "    each_thread(self, slot, release_locks);\n    int r",
     "    each_thread(self, slot, release_locks);\n    kini_sweep(self, slot);\n    int r",
     [("kill_queue", "get a block of another")]),
    ("thread records are freed before the queues are repaired", "arena/reaper.c",
     "    int r = each_thread(self, slot, finish_operation);\n",
     "    each_thread(self, slot, free_record);\n"
     "    int r = each_thread(self, slot, finish_operation);\n",
     [("kill_queue", "put behind others")]),
    ("allocating a run has no journal", "arena/span.c",
     "        kini_journal_begin(lock, RUN_ALLOC);\n", "",
     [("kill_blocks", "alloc one of four units")]),
    ("freeing a run has no journal", "arena/span.c",
     "    kini_journal_begin(lock, RUN_FREE);\n", "",
     [("kill_blocks", "free a large one")]),
    ("a unit counts as committed too early", "arena/span.c",
     "        if (unit > from) {\n",
     "        if (unit > from) {\n            bits_change(arena->commit_map, from, unit - from, true);\n",
     [("kill_blocks", "reserve and commit")]),
    ("memory goes before its bit", "arena/span.c",
     "    bits_change(arena->commit_map, first, count, false); /* before the memory goes */\n"
     "    kini_compiler_barrier();\n",
     "    kini_os_memory_release(kini_at(arena, kini_unit_offset(arena, first)),\n"
     "                           (uint64_t)count * KINI_UNIT_BYTES);\n"
     "    bits_change(arena->commit_map, first, count, false);\n",
     [("kill_blocks", "free a large one to the system")]),
    ("a span is not marked as touched", "arena/block.c",
     "    if (kini_unlikely(!(kini_load(word) >> (bit % 64) & 1)))\n"
     "        kini_or(word, 1ull << (bit % 64));\n", "",
     [("kill_blocks", "alloc, first of its size")]),
    ("a lock is listed after it was taken", "arena/ilock.h",
     "    kini_store(&self->shm->lockstack[self->locks++], kini_offset(self->arena, lock));\n"
     "    kini_compiler_barrier();\n"
     "    uint32_t expected = 0;\n"
     "    /* acq pairs with the release in kini_ilock_unlock */\n"
     "    if (kini_likely(kini_cas(&lock->word, &expected, self->index << 1)))\n"
     "        return;\n"
     "    kini_ilock_lock_slow(self, lock);\n",
     "    uint32_t expected = 0;\n"
     "    if (!kini_cas(&lock->word, &expected, self->index << 1))\n"
     "        kini_ilock_lock_slow(self, lock);\n"
     "    kini_store(&self->shm->lockstack[self->locks++], kini_offset(self->arena, lock));\n",
     [("kill_objects", "create a queue")]),
    ("a lock is struck off before it is released", "arena/ilock.h",
     "    if (kini_unlikely(kini_swap_sc(&lock->word, 0) & KINI_ILOCK_WAIT))\n"
     "        kini_ilock_wake(lock);\n"
     "    kini_compiler_barrier();\n"
     "    kini_store(&self->shm->lockstack[--self->locks], 0);\n",
     "    kini_store(&self->shm->lockstack[--self->locks], 0);\n"
     "    kini_compiler_barrier();\n"
     "    if (kini_unlikely(kini_swap_sc(&lock->word, 0) & KINI_ILOCK_WAIT))\n"
     "        kini_ilock_wake(lock);\n",
     [("kill_objects", "create a queue")]),
    ("an object lives before anybody holds it", "arena/object.c",
     "        kini_or(bit_word(arena, self->slot, *ret_id), 1ull << (*ret_id % 64));\n"
     "        kini_store_sc(&object->state, "
     "KINI_OBJECT_WORD(*ret_gen, 0, type, KINI_OBJECT_LIVE));\n",
     "        kini_store_sc(&object->state, "
     "KINI_OBJECT_WORD(*ret_gen, 0, type, KINI_OBJECT_LIVE));\n"
     "        kini_or(bit_word(arena, self->slot, *ret_id), 1ull << (*ret_id % 64));\n",
     [("kill_objects", "create, and somebody dies")]),
    ("objects without a holder are not looked for", "arena/object.c",
     "            destroy_if_unheld(self, id); /* crash state 3 */\n", "",
     [("kill_objects", "destroy a queue")]),
    ("a destruction that may be called off is finished", "arena/object.c",
     "        if (now == KINI_OBJECT_DYING)\n            judge(self, id, mine);\n        else\n"
     "            destroy(self, id, mine);\n", "        destroy(self, id, mine);\n",
     [("kill_join", "rejoin and drop")]),
    ("a destruction is not finished", "arena/reaper.c",
     "    kini_objects_finish_dying(self, slot);\n", "",
     [("kill_objects", "destroy a queue")]),
    ("the wake of a chosen one that died is not passed on", "sync/wait.c",
     "        kini_waitq_wake(self, queue, 1);\n        kini_ilock_lock(self, &queue->lock);\n    }\n",
     "        kini_ilock_lock(self, &queue->lock);\n    }\n",
     [("kill_wait", "wait in get, one waits behind, then an item comes")]),
    ("the wake of a chosen one that died is passed on after it is forgotten", "sync/wait.c",
     "        kini_waitq_wake(self, queue, 1);\n        kini_ilock_lock(self, &queue->lock);\n    }\n",
     "        kini_store(&dead->wait_state, KINI_WAIT_NONE);\n"
     "        kini_waitq_wake(self, queue, 1);\n        kini_ilock_lock(self, &queue->lock);\n    }\n",
     [("kill_wait", "the reaper of a chosen one, one waits behind")]),
    ("the wake that the dead owed is not given", "sync/wait.c",
     "        kini_nudge_thread(&arena->threads[target]);\n    kini_store(&dead->wake_target, 0);\n",
     "        ;\n    kini_store(&dead->wake_target, 0);\n",
     [("kill_wait", "put, and one waits")]),
    ("a dead producer's item wakes nobody", "chan/recover.c",
     "    kini_waitq_wake(self, &queue->getters, 1);\n"
     "    kini_waitq_wake(self, &queue->putters, 1); /* a tombstone at the head is theirs to pass */\n",
     "", [("kill_wait", "put, and one waits")]),
    ("entering a wait queue has no journal", "sync/wait.c",
     "    begin_change(queue);\n    kini_store(&me->wait_ticket",
     "    kini_store(&queue->version, kini_load(&queue->version) + 1);\n"
     "    kini_store(&me->wait_ticket",
     [("kill_wait", "wait in get, then an item comes")]),
    ("choosing a waiter has no journal", "sync/wait.c",
     "        begin_change(queue);\n        unlink_thread(self->arena, queue, index);\n",
     "        kini_store(&queue->version, kini_load(&queue->version) + 1);\n"
     "        unlink_thread(self->arena, queue, index);\n",
     [("kill_wait", "put, and one waits")]),
    ("a dead waiter stays listed", "sync/wait.c",
     "    if (queued)\n        unlink_thread(self->arena, queue, (uint32_t)(dead",
     "    if (false)\n        unlink_thread(self->arena, queue, (uint32_t)(dead",
     [("kill_wait", "wait in get, then an item comes")]),
    ("linking a segment has no journal", "chan/segment.c",
     "    kini_journal_begin(&queue->grow, KINI_QUEUE_LINK);\n", "",
     [("kill_growth", "put into a segment used again"), ("kill_growth", "put into a new segment")]),
    ("a new segment is listed before it is the queue's", "chan/segment.c",
     "        kini_block_give(self, kini_offset(arena, next), queue->tag);\n"
     "        kini_store_rel(&queue->all_segments, kini_offset(arena, next)); /* for EACH_SEGMENT */\n",
     "        kini_store_rel(&queue->all_segments, kini_offset(arena, next));\n"
     "        kini_block_give(self, kini_offset(arena, next), queue->tag);\n",
     [("kill_growth", "put into a new segment")]),
    ("a segment becomes idle while a cell is still being read", "chan/segment.c",
     "            is_quiet(s))\n            retire(self, s);\n", "            true)\n"
     "            retire(self, s);\n",
     [("kill_growth", "get and get, from the last cell and the next segment")]),
    ("what is to be delivered again is not looked for", "chan/recover.c",
     "    /* In any case: a reaper before us may have died between the mark and this. */\n"
     "    kini_add_sc(&queue->back_made, 1);\n", "",
     [("kill_queue", "get")]),
    ("a nudge that came too late is not passed on", "sync/wait.c",
     "        if (nudged && !chosen) /* since our last look */\n"
     "            kini_waitq_nudge(self->arena, queue, 1);\n", "",
     [("kill_sync_pairs", "semaphore, time out and release, one waits behind")]),
    ("who was marked when it had left counts as told", "sync/nudge.c",
     "    return mark(&arena->threads[index]) && kini_waitq_has(arena, queue, index);\n",
     "    return mark(&arena->threads[index]);\n",
     [("kill_sync_pairs", "semaphore, time out and release, one waits behind")]),
    ("a waiter looks before it can be seen, and not again", "sync/wait.c",
     "        if (!entered)\n            kini_waitq_enter(self, queue);\n"
     "        /* Whoever changed the object before it could see us has not woken us: look again. */\n"
     "        int64_t r = attempt(self, arg);\n",
     "        int64_t r = attempt(self, arg);\n"
     "        if (!entered)\n            kini_waitq_enter(self, queue);\n",
     [("kill_condition_pairs", "event, wait and set")]),
    ("who goes to sleep wipes out its mark", "sync/wait.c",
     "    if (kini_cas_sc(&me->park, &awake, KINI_PARK_ASLEEP) &&\n",
     "    kini_store(&me->park, KINI_PARK_ASLEEP);\n    if (awake == KINI_PARK_AWAKE &&\n",
     [("kill_condition_pairs", "event, wait and set")]),
    ("a list changes before its journal says so", "sync/wait.c",
     "    kini_journal_begin(&queue->lock, JOURNAL_CHANGE);\n"
     "    kini_store(&queue->version, kini_load(&queue->version) + 1);\n",
     "    kini_store(&queue->version, kini_load(&queue->version) + 1);\n"
     "    kini_journal_begin(&queue->lock, JOURNAL_CHANGE);\n",
     [("kill_semaphore", "acquire in vain, one waits")]),
    ("the journal of a list ends before the change", "sync/wait.c",
     "    kini_store_rel(&queue->version, kini_load(&queue->version) + 1);\n"
     "    kini_journal_end(&queue->lock);\n",
     "    kini_journal_end(&queue->lock);\n"
     "    kini_store_rel(&queue->version, kini_load(&queue->version) + 1);\n",
     [("kill_semaphore", "acquire in vain, one waits")]),
    ("a dead one that waits for any stays counted", "sync/wait.c",
     "        leave_any(self, dead);\n", "        ;\n",
     [("kill_sync", "any, then an event is set")]),
    ("an event wakes before it is set", "sync/event.c",
     "    uint64_t word = kini_load_sc(&shm->word);\n"
     "    while (!(word & 1) && !kini_cas_sc(&shm->word, &word, word + 3))\n        ;\n",
     "    uint64_t word = kini_load_sc(&shm->word);\n"
     "    kini_waitq_nudge(event->handle.arena, &shm->waiters, UINT32_MAX);\n"
     "    while (!(word & 1) && !kini_cas_sc(&shm->word, &word, word + 3))\n        ;\n"
     "    return 0;\n",
     [("kill_condition_pairs", "event, wait and set")]),
    ("no note for the one whose word is overwritten", "sync/hold.h",
     "        kini_hold_note(self->arena, *expected);\n", "        ;\n",
     [("kill_sync_pairs", "semaphore, acquire and acquire")]),
    ("the note comes after the overwriting", "sync/hold.h",
     "        kini_hold_note(self->arena, *expected);\n"
     "    kini_store(&me->op, KINI_HOLD_OP(hold->entry, hold->seq, count));\n"
     "    kini_compiler_barrier();\n"
     "    if (kini_unlikely(!kini_cas_sc(word, expected, "
     "KINI_COUNTED(value, self->index, hold->seq))))\n"
     "        return false;\n",
     "        ;\n"
     "    uint64_t was = *expected;\n"
     "    kini_store(&me->op, KINI_HOLD_OP(hold->entry, hold->seq, count));\n"
     "    kini_compiler_barrier();\n"
     "    if (kini_unlikely(!kini_cas_sc(word, expected, "
     "KINI_COUNTED(value, self->index, hold->seq))))\n"
     "        return false;\n"
     "    if (last != self->index && last != 0)\n"
     "        kini_hold_note(self->arena, was);\n",
     [("kill_sync_pairs", "semaphore, acquire and acquire")]),
    ("the ledger is written before the word", "sync/hold.h",
     "    kini_store(&me->op, KINI_HOLD_OP(hold->entry, hold->seq, count));\n"
     "    kini_compiler_barrier();\n",
     "    kini_store(&me->op, KINI_HOLD_OP(hold->entry, hold->seq, count));\n"
     "    kini_compiler_barrier();\n"
     "    kini_store(&me->holds[hold->entry],\n"
     "               (kini_load(&me->holds[hold->entry]) & ~0xffffffffull) | (uint32_t)count);\n",
     [("kill_semaphore", "acquire after another")]),
    ("the intent of a counted operation comes after the word", "sync/hold.h",
     "    kini_store(&me->op, KINI_HOLD_OP(hold->entry, hold->seq, count));\n"
     "    kini_compiler_barrier();\n"
     "    if (kini_unlikely(!kini_cas_sc(word, expected, "
     "KINI_COUNTED(value, self->index, hold->seq))))\n"
     "        return false;\n",
     "    if (kini_unlikely(!kini_cas_sc(word, expected, "
     "KINI_COUNTED(value, self->index, hold->seq))))\n"
     "        return false;\n"
     "    kini_store(&me->op, KINI_HOLD_OP(hold->entry, hold->seq, count));\n",
     [("kill_semaphore", "acquire after another")]),
    ("a reaper that died over the return is not resolved", "sync/hold.c",
     "    resolve_reapers(self, index);\n", "",
     [("kill_semaphore", "reap a holder of two, two wait")]),
    ("the return does not say whose ledger it changes", "sync/hold.c",
     "    kini_store(&self->shm->hold_thread, index);\n", "",
     [("kill_semaphore", "reap a holder of two, two wait")]),
    ("setting off has no journal", "sync/hold.c",
     "    kini_journal_begin(lock, 1);\n", "",
     [("kill_semaphore", "reap one whose threads held different counts")]),
    ("a return takes no note of whom it overwrites", "sync/hold.c",
     "        if (last != 0 && last != self->index)\n            kini_hold_note(arena, expected);\n",
     "        (void)last;\n",
     [("kill_condition_pairs", "semaphore, reap and acquire")]),
    ("a lock that is kept for the dead stays so", "sync/lock_word.c",
     "        uint64_t after = word & KINI_WORD_RESERVED ? 0 : KINI_WORD_ABANDONED;\n",
     "        uint64_t after = KINI_WORD_ABANDONED;\n"
     "        if (word & KINI_WORD_RESERVED)\n            break;\n",
     [("kill_lock", "acquire, one waits behind, then it is handed over")]),
    ("the death of a holder is not told", "sync/lock_word.c",
     "        uint64_t after = word & KINI_WORD_RESERVED ? 0 : KINI_WORD_ABANDONED;\n",
     "        uint64_t after = 0;\n",
     [("kill_lock", "acquire")]),
    ("who was to be told died, and nobody else is told", "sync/lock_word.c",
     "    if (!kini_cas_sc(&shm->word, &word, self->owner_word))\n        return -EAGAIN;\n"
     "    kini_add(",
     "    if (!kini_cas_sc(&shm->word, &word, shm->on_abandoned ? 0 : self->owner_word))\n"
     "        return -EAGAIN;\n    kini_add(",
     [("kill_lock", "acquire what was abandoned, and be refused")]),
    ("no look whether the heir is still there", "sync/lock_word.c",
     "    if (is_stale(self, shm, word) && kini_cas_sc(&shm->word, &word, 0))\n",
     "    if (false)\n",
     [("kill_sync_pairs", "lock, time out and hand over, one waits behind")]),
    ("who waits for a lock is not woken when a releaser died", "sync/lock_word.c",
     "        kini_lock_abandon(self, shm, word & KINI_OWNER_BITS);\n"
     "    kini_waitq_nudge_all(self->arena, &shm->waiters);\n",
     "        kini_lock_abandon(self, shm, word & KINI_OWNER_BITS);\n",
     [("kill_lock", "release, two wait")]),
    ("a once counts as run too early", "sync/once.c",
     "    int r = fn(arg);\n",
     "    kini_store_sc(&shm->word, KINI_WORD_DONE);\n    int r = fn(arg);\n",
     [("kill_lock", "once")]),
    ("a notification that waits for the lock is lost", "sync/wait.c",
     "        kini_waitq_wake(self, token, 1);\n", "        ;\n",
     [("kill_condition", "condition, wait, notified, the lock is held")]),
    ("who is moved to the lock does not know why", "sync/wait.c",
     "    kini_store(&t->wait_token, kini_offset(arena, from));\n    append(arena, to, index);\n",
     "    append(arena, to, index);\n",
     [("kill_condition", "condition, wait, notified, the lock is held")]),
    ("a move is not finished", "sync/wait.c",
     "        finish_move(self->arena, queue);\n", "        ;\n",
     [("kill_condition", "condition, notify one of two")]),
    ("a member of a barrier is one only after it arrived", "sync/barrier.c",
     "    become_member(self, barrier->handle.shm);\n"
     "    kini_handle_begin_wait(self, &barrier->handle);\n"
     "    int64_t r = wait_in_turn(self, &wait, deadline);\n",
     "    kini_handle_begin_wait(self, &barrier->handle);\n"
     "    int64_t r = wait_in_turn(self, &wait, deadline);\n"
     "    become_member(self, barrier->handle.shm);\n",
     [("kill_condition", "barrier, arrive, then it ends")]),
    ("a dead writer leaves no trace", "sync/rwlock.c",
     "        return (value & ~WRITER) | ABANDONED;\n", "        return value & ~WRITER;\n",
     [("kill_sync", "stop writing, one wants to write")]),
]

MUTANTS = [m for m in MUTANTS if m[1].startswith(os.environ.get("KIN_MUTANTS", ""))]


class Unbuilt(Exception):
    """Something does not compile or link."""


def compile_to(source, target, include):
    command = [*CC, *FLAGS, f"-I{include}", "-MD", "-MF", f"{target}.d", "-c", source, "-o", target]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        raise Unbuilt(f"{source} does not compile:\n{done.stderr}")


def link(objects, target):
    command = [*CC, "-pthread", "-rdynamic", *map(str, objects), "-o", str(target)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        raise Unbuilt(f"{target} does not link:\n{done.stderr}")


def run(program, scenario):
    """Exit status (None: not finished in time), what failed first, and what is wrong with the
    harness. A scenario that is not there is wrong, too: no kill points."""
    command = [str(program), "--fail-fast", "--only", f"={scenario}"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS)
    except subprocess.TimeoutExpired:
        return None, "", f"not finished after {SECONDS} s"
    lines = done.stdout.splitlines()
    failures = [line.removeprefix("# FAIL ") for line in lines if line.startswith("# FAIL ")]
    broken = [line.removeprefix("# ") for line in lines if "the harness cannot work" in line]
    if done.returncode != 0 and not failures and not broken:
        broken = [f"exit status {done.returncode}: {(lines or ['no output'])[-1]}"]
    return done.returncode, "".join(failures[:1]), "".join(broken[:1])


class Base:
    """The sources as they are, compiled."""

    def __init__(self, pool):
        self.library = {p: WORK / (str(p.relative_to(ROOT / "src")).replace("/", "_") + ".o")
                        for p in sorted((ROOT / "src").rglob("*.c"))}
        harness = sorted((ROOT / "tests/lib").glob("harness*.c"))
        self.harness = {p: WORK / (p.name + ".o") for p in harness}
        self.programs = {name: WORK / (name + ".c.o") for name in PROGRAMS}
        sources = {**self.library, **self.harness,
                   **{ROOT / "tests/crash" / (n + ".c"): o for n, o in self.programs.items()}}
        list(pool.map(lambda item: compile_to(item[0], item[1], ROOT / "src"), sources.items()))
        for name in PROGRAMS:
            self.link(name, self.library, WORK / name)

    def link(self, program, library, target):
        link([self.programs[program], *self.harness.values(), *library.values()], target)

    def users_of(self, path):
        """The library's sources that are, or include, that file."""
        return [source for source, target in self.library.items()
                if str(path) in pathlib.Path(f"{target}.d").read_text()]


def plant(base, number, mutant):
    """Returns what went wrong with the test of this fault, or (None, how it was noticed)."""
    try:
        return try_out(base, number, mutant)
    except Unbuilt as error:
        return str(error)


def try_out(base, number, mutant):
    name, file, old, new, trials = mutant
    original = ROOT / "src" / file
    text = original.read_text()
    if text.count(old) != 1:
        return f"the text to replace is there {text.count(old)} times in src/{file}"
    # a tree of links with one file changed, so that "x/y.h" is found in it first
    tree = WORK / f"mutant{number}"
    for source in (ROOT / "src").rglob("*.[ch]"):
        place = tree / source.relative_to(ROOT / "src")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.symlink_to(source)
    (tree / file).unlink()
    (tree / file).write_text(text.replace(old, new))
    library = dict(base.library)
    for source in base.users_of(original):
        place = tree / source.relative_to(ROOT / "src")
        if place.is_symlink(): # a link would find its headers beside what it points to
            content = place.read_text()
            place.unlink()
            place.write_text(content)
        library[source] = tree / (place.name + ".o")
        compile_to(place, library[source], tree)
    for program, scenario in trials:
        target = tree / program
        base.link(program, library, target)
        status, failure, broken = run(target, scenario)
        if broken:
            return f"{program} --only '={scenario}': {broken}"
        if status != 0 and failure:
            return None, failure
    return "nobody notices it"


def healthy(base, trial):
    program, scenario = trial
    status, failure, broken = run(WORK / program, scenario)
    if status == 0:
        return None
    return f"{program} --only '={scenario}' fails by itself: {failure or broken}"


def main():
    start = time.monotonic()
    for old in [ROOT, *WORK.glob("mutant*")]: # of an earlier run
        shutil.rmtree(old, ignore_errors=True)
    for folder in ["include", "src", "tests/lib", "tests/crash"]:
        shutil.copytree(pathlib.Path(sys.argv[1]) / folder, ROOT / folder)
    bad = 0
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        try:
            base = Base(pool)
        except Unbuilt as error:
            print(f"not ok: without a fault, {error}")
            return True
        trials = sorted({trial for mutant in MUTANTS for trial in mutant[4]})
        for complaint in filter(None, pool.map(lambda t: healthy(base, t), trials)):
            print(f"not ok: {complaint}", flush=True)
            bad += 1
        jobs = [pool.submit(plant, base, i, m) for i, m in enumerate(MUTANTS)]
        for mutant, job in zip(MUTANTS, jobs):
            result = job.result()
            if isinstance(result, str):
                print(f"not ok: {mutant[0]}: {result}", flush=True)
                bad += 1
            else:
                print(f"ok: {mutant[0]}: {result[1]}", flush=True)
    print(f"{len(MUTANTS)} planted faults, {bad} problems, {time.monotonic() - start:.0f} s")
    return bad != 0


sys.exit(main())
