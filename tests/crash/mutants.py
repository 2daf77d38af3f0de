# SPDX-License-Identifier: MIT
"""Faults planted on purpose: the kill harness must find each of them.

mutants.py SOURCE_ROOT WORK_DIR COMPILER...    (KIN_MUTANTS=folder/: only those of these sources)

Each fault is one exact replacement in one file; a text that is not there exactly once is an error,
so a fault cannot get lost when the sources change. The sources are copied first, so that they may
be edited while this runs. The changed file (or, for a header, what includes it) is compiled,
linked with the rest, and the named programs must report a failure.

Known to be harmless, and so not planted: leaving out the WON mark. A claim that is known to be won
is resolved without a look at the living; without the mark the look is taken, and at worst the
reaper waits for a living rival. Marking the unit of a message that is taken after its header says
so: until its cell is released, or the journal ended, the message is found without the mark.
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
PROGRAMS = ["kill_batch", "kill_batch_pairs", "kill_queue", "kill_queue_pairs", "kill_growth",
            "kill_blocks", "kill_wait", "kill_objects", "kill_pipe", "kill_join", "kill_lock",
            "kill_semaphore", "kill_sync",
            "kill_condition", "kill_sync_pairs", "kill_condition_pairs", "kill_store",
            "kill_value", "kill_zero_copy"]
SECONDS = 240

# name, file, what is there, what is put in its place, [(program, scenarios)]
MUTANTS = [
    ("a struct that the dead was setting stays half set", "coll/items.c",
     "    finish_set(self, shm, slot);\n", "", [("kill_value", "set a struct")]),
    ("the rlock of a value is freed before its struct is whole", "coll/items.c",
     "    finish_set(self, shm, slot);\n    kini_lock_holder_died(self, offset, slot);\n",
     "    kini_lock_holder_died(self, offset, slot);\n    finish_set(self, shm, slot);\n",
     [("kill_value", "set a struct")]),
    ("half set is said before there is a whole copy", "coll/value.c",
     "    memcpy(spare, bytes, items->item_bytes);\n    kini_compiler_barrier(); /* enough: only a reaper reads it (docs/crash.rst) */\n"
     "    kini_store(&shm->half_set, 1);\n",
     "    kini_store(&shm->half_set, 1);\n    kini_compiler_barrier();\n    memcpy(spare, bytes, items->item_bytes);\n",
     [("kill_value", "set a struct")]),
    ("who waits for a change is not told of a death", "coll/items.c",
     "    kini_waitq_nudge_all(self->arena, &shm->waiters);\n", "",
     [("kill_value", "add, one waits")]),
    ("a descriptor that goes stays counted in its queues", "sync/ready.c",
     "        leave(ready);\n        pthread_mutex_unlock", "        pthread_mutex_unlock",
     [("kill_sync", "a descriptor, one waits for any")]),
    ("a dead producer's cell is not skipped", "chan/recover.c",
     "    kini_cas_sc(&cell->seq, &seq, (p + 1) | KINI_CELL_SKIP);\n", "",
     [("kill_queue", "put behind others")]),
    ("no look at the living before a skip", "chan/recover.c",
     "        if (!claim->won && living_intent(self, claim, p))\n            return -EAGAIN;\n"
     "    }\n    kini_add_sc(&queue->skips_made", "    }\n    kini_add_sc(&queue->skips_made",
     [("kill_queue_pairs", "put and put")]),
    ("no look at the living before a redelivery", "chan/recover.c",
     "    if (!claim->won && living_intent(self, claim, p))\n        return -EAGAIN;\n"
     "    bool tombstone", "    bool tombstone",
     [("kill_queue_pairs", "get and get")]),
    ("no look at the living before what was taken back is marked again", "chan/recover.c",
     "        if (!claim->won && living_intent(self, claim, p))\n            return -EAGAIN;\n"
     "        requeue_block(self, claim->segment, cell, taken",
     "        requeue_block(self, claim->segment, cell, taken",
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
    ("the intent of a batch names its first position only", "chan/batch.c",
     "        kini_intend(self, KINI_OP_RANGE(KINI_OP_PUT, n, offset), t);\n",
     "        kini_intend(self, KINI_OP(KINI_OP_PUT, offset), t);\n",
     [("kill_batch", "put two")]),
    ("the intent of a batch that is got names its first position only", "chan/batch.c",
     "        kini_intend(self, KINI_OP_RANGE(KINI_OP_GET, n, offset), h);\n",
     "        kini_intend(self, KINI_OP(KINI_OP_GET, offset), h);\n",
     [("kill_batch", "get two")]),
    ("the last position of a dead batch is forgotten", "chan/recover.c",
     "    for (uint64_t i = claim->count; i-- > 0;)\n        r |= bury",
     "    for (uint64_t i = claim->count - (claim->count > 1); i-- > 0;)\n        r |= bury",
     [("kill_batch", "put two")]),
    ("the last position of a dead consumer's batch is forgotten", "chan/recover.c",
     "    for (uint64_t i = 0; i < claim->count; i++)\n        r |= redeliver",
     "    for (uint64_t i = 0; i + (claim->count > 1) < claim->count; i++)\n        r |= redeliver",
     [("kill_batch", "get two")]),
    ("a batch is published from its first position", "chan/batch.c",
     "    for (uint32_t i = run->count; i-- > 0;) {\n",
     "    for (uint32_t i = 0; i < run->count; i++) {\n",
     [("kill_batch", "put two")]),
    ("what was published of a batch without its first stays", "chan/recover.c",
     "        r |= bury(self, claim, claim->first + i, begun);\n",
     "        r |= bury(self, claim, claim->first + i, false);\n",
     [("kill_batch", "put two")]),
    ("a living intent counts for its first position only", "chan/recover.c",
     "           position - (pos & ~KINI_OP_WON) < KINI_OP_COUNT(op);\n",
     "           position == (pos & ~KINI_OP_WON);\n",
     [("kill_batch_pairs", "put three and put two, at the claim")]),
    ("a batch that is got is released before all of it is copied", "chan/batch.c",
     "        uint64_t block = kini_ring_finish_take(self, cell, p, shm->tag, &taker);\n",
     "        if (i == 0 && run->count > 1)\n"
     "            kini_store_rel(&kini_cell(segment, p + 1)->seq, p + 1 + segment->cap);\n"
     "        uint64_t block = kini_ring_finish_take(self, cell, p, shm->tag, &taker);\n",
     [("kill_batch", "get two")]),
    ("no intent at all before taking back", "chan/recover.c",
     "    kini_intend(self, KINI_OP(KINI_OP_TAKE_BACK, kini_offset(self->arena, segment)), p);\n", "",
     [("kill_queue", "get again")]),
    ("the cell is released before the block is adopted", "chan/ring.c",
     "    uint64_t block = kini_ring_finish_take(self, cell, h, queue->shm->tag, taker);\n",
     "    kini_store_rel(&cell->seq, h + segment->cap);\n"
     "    uint64_t block = kini_ring_finish_take(self, cell, h, queue->shm->tag, taker);\n",
     [("kill_queue", "get a block of another")]),
    ("an item in the hands of the dead is not marked", "chan/recover.c",
     "    kini_cas_sc(&cell->seq, &seq, tombstone ? p + segment->cap : "
     "(p + 1) | KINI_CELL_BACK);\n", "",
     [("kill_queue", "get")]),
    ("an item taken back by the dead is not marked", "chan/recover.c",
     "        kini_cas_sc(&cell->seq, &taken, (p + 1) | KINI_CELL_BACK);\n", "",
     [("kill_queue", "get again")]),
    ("a redelivered block stays the dead's", "chan/recover.c",
     "    if (!tombstone)\n        requeue_block(self, segment, cell, seq, p, claim->dead);\n",
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
    ("a copy that was taken comes back although the cell does", "chan/recover.c",
     "        forget_copy(self, segment, p, dead);\n", "",
     [("kill_zero_copy", "take from the ring")]),
    ("a copy that was taken comes back although the cell is taken again", "chan/recover.c",
     "        requeue_block(self, claim->segment, cell, taken, p, claim->dead);\n", "",
     [("kill_zero_copy", "take again from the ring")]),
    ("a message from the ring is taken after its cell is released", "chan/ring.c",
     "        block = taker->block;\n    }\n    kini_message_take(self, block, tag);\n",
     "        return;\n    }\n    kini_message_take(self, block, tag);\n",
     [("kill_zero_copy", "take from the ring")]),
    ("the copy of a message is named after it is taken", "chan/ring.c",
     "        kini_store(&self->shm->op_block, taker->block);\n        block = taker->block;\n"
     "    }\n    kini_message_take(self, block, tag);\n",
     "        block = taker->block;\n    }\n    kini_message_take(self, block, tag);\n"
     "    kini_store(&self->shm->op_block, taker->block);\n",
     [("kill_zero_copy", "take from the ring")]),
    ("what the dead had taken before is forgotten with a copy", "chan/recover.c",
     " &&\n        kini_message_of(self->arena, copy)->order == p)\n", ")\n",
     [("kill_zero_copy", "take, then get")]),
    ("a block that is taken stays the dead's", "chan/recover.c",
     " &&\n         word != KINI_BLOCK_WORD(KINI_BLOCK_TAKEN, dead_slot, queue->tag)) ||\n", ") ||\n",
     [("kill_zero_copy", "take a block")]),
    ("nobody is told that something was taken", "chan/message.c",
     "    kini_store(&self->arena->participants[self->slot].takes, 1); "
     "/* the reaper is to look */\n", "",
     [("kill_zero_copy", "take a block")]),
    ("the unit of what is taken is not marked as touched", "chan/message.c",
     "    kini_block_touch(self, block);\n", "",
     [("kill_zero_copy", "take a large block")]),
    ("what is given back is not looked at again", "chan/returned.c",
     "    if (kini_load_acq(&kini_block_header(self->arena, block)->word) == word) {\n",
     "    if (word != 0) {\n",
     [("kill_zero_copy", "destroy the handle with two taken")]),
    ("putting into the list of returned is not finished", "chan/returned.c",
     "    if (kini_load(&lock->op) == KINI_RETURNED_INSERT)\n"
     "        link_block(self->arena, queue);\n", "",
     [("kill_zero_copy", "destroy the handle with two taken")]),
    ("putting into the list of returned has no journal", "chan/returned.c",
     "        kini_journal_begin(lock, KINI_RETURNED_INSERT);\n", "",
     [("kill_zero_copy", "destroy the handle with two taken")]),
    ("taking from the list of returned has no journal", "chan/returned.c",
     "        kini_journal_begin(&returned->lock, KINI_RETURNED_REMOVE);\n", "",
     [("kill_zero_copy", "take what was returned")]),
    ("taking from the list of returned leaves the header", "chan/returned.c",
     "        kini_store(&kini_block_header(self->arena, block)->word,\n"
     "                   KINI_BLOCK_WORD(KINI_BLOCK_OWNED, 0, queue->tag));\n"
     "        kini_compiler_barrier();\n        kini_store(&returned->first, block);",
     "        kini_store(&returned->first, block);",
     [("kill_zero_copy", "take what was returned")]),
    ("the repaired list of returned is not counted", "chan/returned.c",
     "    }\n    count_again(self->arena, queue);\n}\n", "    }\n}\n",
     [("kill_zero_copy", "take what was returned")]),
    ("a message that comes back goes to the front", "chan/returned.c",
     "    while (at != 0 && goes_before(kini_message_of(arena, at), message)) {\n",
     "    while (false) {\n",
     [("kill_zero_copy", "take two, the other way round")]),
    ("what was taken is given back after the holds are dropped", "arena/reaper.c",
     "    kini_give_back(self, slot, 0);\n    kini_objects_drop_all(self, slot);\n",
     "    kini_objects_drop_all(self, slot);\n    kini_give_back(self, slot, 0);\n",
     [("kill_zero_copy", "take a block")]),
    ("what was taken is given back before the queues are repaired", "arena/reaper.c",
     "    each_thread(self, slot, release_locks);\n    int r",
     "    each_thread(self, slot, release_locks);\n    kini_give_back(self, slot, 0);\n    int r",
     [("kill_zero_copy", "take a block")]),
    ("what was taken is swept, not given back", "arena/reaper.c",
     "    kini_give_back(self, slot, 0);\n", "",
     [("kill_zero_copy", "take a block")]),
    ("who destroys its handle keeps what it took", "chan/queue.c",
     "        kini_give_back(self, self->slot, queue->handle.tag);\n", "",
     [("kill_zero_copy", "destroy the handle with two taken")]),
    ("the list of returned is cut after its blocks are freed", "chan/returned.c",
     "    kini_store(&queue->returned.first, 0);\n", "",
     [("kill_zero_copy", "destroy a queue with two large ones taken")]),
    ("the list of returned is freed beside a journal", "chan/returned.c",
     "    kini_ilock_lock(self, &queue->returned.lock);\n"
     "    uint64_t first = kini_load(&queue->returned.first);\n    for",
     "    kini_ilock_init(&queue->returned.lock, KINI_ILOCK_RETURNED);\n"
     "    self->locks++;\n"
     "    uint64_t first = kini_load(&queue->returned.first);\n    for",
     [("kill_zero_copy", "destroy a queue with two taken")]),
    ("a full ring takes more beside what was returned", "chan/ring.h",
     "    return shm->counts ||\n"
     "           (shm->max_items != 0 && kini_unlikely(kini_load(&shm->returned_count) != 0));\n",
     "    return shm->counts;\n",
     [("kill_zero_copy", "put beside what was returned")]),
    ("allocating a run has no journal", "arena/span.c",
     "        kini_journal_begin(lock, RUN_ALLOC);\n        mark_claimed(self, first, count);\n",
     "        mark_claimed(self, first, count);\n",
     [("kill_blocks", "alloc one of four units")]),
    ("taking the free units that have memory has no journal", "arena/span.c",
     "        kini_journal_begin(lock, RUN_ALLOC);\n        mark_claimed(self, unit, count);\n",
     "        mark_claimed(self, unit, count);\n",
     [("kill_blocks", "give the memory of free units back")]),
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
    ("an object lives, and nobody holds it", "arena/object.c",
     "    kini_or(bit_word(arena, self->slot, id), 1ull << (id % 64));\n", "",
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
     "        kini_nudge_thread(arena, &arena->threads[target]);\n"
     "    kini_store(&dead->wake_target, 0);\n",
     "        ;\n    kini_store(&dead->wake_target, 0);\n",
     [("kill_wait", "put, and one waits")]),
    ("a dead producer's item wakes nobody", "chan/recover.c",
     "    kini_waitq_wake(self, &queue->getters, (uint32_t)claim->count);\n"
     "    /* a tombstone at the head is theirs to pass */\n"
     "    kini_waitq_wake(self, &queue->putters, (uint32_t)claim->count);\n",
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
     "    kini_add_sc(&queue->back_made, 1);\n", "",
     [("kill_queue", "get")]),
    ("a nudge that came too late is not passed on", "sync/wait.c",
     "        if (nudged && !chosen) /* since our last look */\n"
     "            kini_waitq_nudge(self->arena, queue, 1);\n", "",
     [("kill_sync_pairs", "semaphore, time out and release, one waits behind")]),
    ("who was marked when it had left counts as told", "sync/nudge.c",
     "    return mark(arena, &arena->threads[index]) && kini_waitq_has(arena, queue, index);\n",
     "    return mark(arena, &arena->threads[index]);\n",
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
    ("an entry moves up, and the journal does not say how far", "chan/heap.c",
     "    kini_store(&store->lock.arg[1], hole);\n    kini_compiler_barrier();\n", "    (void)hole;\n",
     [("kill_store", "put, last in first out")]),
    ("putting into a heap has no journal", "chan/heap.c",
     "    kini_journal_begin(lock, KINI_STORE_PUSH);\n", "",
     [("kill_store", "put, last in first out")]),
    ("a message is in the heap before it is the queue's, for good", "chan/heap.c",
     "    kini_block_give(self, block, tag);\n    kini_store(&store->bytes", "    kini_store(&store->bytes",
     [("kill_store", "put, last in first out")]),
    ("taking out of a heap has no journal", "chan/heap.c",
     "    kini_journal_begin(lock, KINI_STORE_POP);\n", "",
     [("kill_store", "get by priority")]),
    ("a message is taken before the journal says so", "chan/heap.c",
     "    kini_journal_begin(lock, KINI_STORE_POP);\n    sift_down(self, store);\n"
     "    kini_message_take(self, block, tag);\n",
     "    kini_message_take(self, block, tag);\n    kini_journal_begin(lock, KINI_STORE_POP);\n"
     "    sift_down(self, store);\n",
     [("kill_store", "get by priority")]),
    ("a message is taken after it has left the heap", "chan/heap.c",
     "    kini_message_take(self, block, tag);\n    lower(store);\n    kini_journal_end(lock);\n",
     "    lower(store);\n    kini_journal_end(lock);\n    kini_message_take(self, block, tag);\n",
     [("kill_store", "get by priority")]),
    ("a new heap has no journal", "chan/heap.c",
     "    kini_journal_begin(lock, KINI_STORE_RESIZE);\n", "",
     [("kill_store", "put into a full heap")]),
    ("a heap that was not used after all is lost", "chan/heap.c",
     "        free_spare(self, fresh, tag);\n", "        ;\n",
     [("kill_store", "put into a full heap")]),
    ("the old heap is lost", "chan/heap.c",
     "        free_spare(self, old, tag);\n", "        ;\n",
     [("kill_store", "put into a full heap")]),
    ("what the dead popped is not returned", "chan/store.c",
     "        kini_returned_insert(self, queue, block,\n"
     "                             kini_load(&kini_block_header(self->arena, block)->word));\n",
     "        ;\n", [("kill_store", "get by priority")]),
    ("what the dead popped is returned by each that repairs", "chan/store.c",
     "    if (!kini_returned_has(self, queue, block))\n", "",
     [("kill_store", "the reaper of one who gets")]),
    ("the end of a get is not accounted with the message", "chan/store.c",
     "        kini_joinable_release(self, queue, block, done);\n",
     "    {\n        kini_block_adopt(self, block);\n"
     "        kini_joinable_release(self, queue, 0, done);\n    }\n",
     [("kill_store", "get, joinable")]),
    ("what the dead had got is never done", "chan/store.c",
     "        kini_joinable_holder_died(self, queue, slot);\n", "        ;\n",
     [("kill_store", "get, joinable")]),
    ("accounting has no journal", "chan/joinable.c",
     "    kini_journal_begin(lock, KINI_STORE_ACCOUNT);\n", "",
     [("kill_store", "get and be done")]),
    ("what is to be dropped stays when its dropper dies", "chan/store.c",
     "    if (kini_load_acq(&queue->flags) & KINI_QUEUE_DROP)\n        drop_all(self, queue);\n", "",
     [("kill_store", "shut down at once")]),
    ("a pipe is there only while somebody holds it", "arena/object.c",
     "    if (is_kept(arena, id))\n        return true;\n", "",
     [("kill_pipe", "send")]),
    ("what an object kept is not looked at when it goes", "arena/object.c",
     "    if (keeps != 0) /* of two keepers that go at once, at least one sees neither of them */\n"
     "        destroy_if_unheld(self, keeps & 0xffff);\n", "",
     [("kill_pipe", "close both ends")]),
    ("an end that does not keep its pipe yet is closed all the same", "chan/pipe.c",
     "    if (!kini_object_is_kept_by(self, end->pipe_tag, end->tag))\n"
     "        return; /* its creator died: there is no other end */\n", "",
     [("kill_pipe", "create a pipe")]),
    ("a pipe lives before its creator holds it no more", "chan/pipe.c",
     "        drop_object(self, parts.pipe_id); /* from here on the ends keep it */\n", "        ;\n",
     [("kill_pipe", "close both ends")]),
    ("a closed end does not shut what it sends into", "chan/pipe.c",
     "        kini_ring_shut(self, out, KINI_QUEUE_SHUT);\n", "        ;\n",
     [("kill_pipe", "close an end")]),
    ("a closed end does not shut what it received", "chan/pipe.c",
     "        kini_ring_shut(self, in, KINI_QUEUE_SHUT | KINI_QUEUE_DROP);\n", "",
     [("kill_pipe", "close an end")]),
    ("counters are believed when the pipe is empty", "chan/pipe_message.c",
     "    settle(self, end->in);\n", "",
     [("kill_pipe", "receive")]),
    ("a pipe keeps its rings", "chan/pipe.c",
     "        kini_queue_object_destroy(self, kini_offset(self->arena, &pipe->directions[i].ring));\n",
     "        ;\n", [("kill_pipe", "close both ends")]),
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
