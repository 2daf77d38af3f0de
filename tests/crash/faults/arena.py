# SPDX-License-Identifier: MIT
"""Faults in src/arena: the arena: blocks, objects, locks, reaper."""

FAULTS = [
    ("blocks are swept before the queues are repaired", "arena/reaper.c",
     "    each_thread(self, slot, release_locks);\n    int r",
     "    each_thread(self, slot, release_locks);\n    kini_sweep(self, slot);\n    int r",
     [("kill_queue", "get a block of another")]),
    ("thread records are freed before the queues are repaired", "arena/reaper.c",
     "    int r = each_thread(self, slot, finish_operation);\n",
     "    each_thread(self, slot, free_record);\n"
     "    int r = each_thread(self, slot, finish_operation);\n",
     [("kill_queue", "put behind others")]),
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
    ("a name that is taken away stays", "arena/object.c",
     "    arena->objects[id].name[0] = '\\0'; /* one byte: killed before or after it */\n", "",
     [("kill_objects", "take a queue's name away")]),
    ("a destruction that may be called off is finished", "arena/object.c",
     "        if (now == KINI_OBJECT_DYING)\n            judge(self, id, mine);\n        else\n"
     "            destroy(self, id, mine);\n", "        destroy(self, id, mine);\n",
     [("kill_join", "rejoin and drop")]),
    ("a destruction is not finished", "arena/reaper.c",
     "    kini_objects_finish_dying(self, slot);\n", "",
     [("kill_objects", "destroy a queue")]),
    ("a pipe is there only while somebody holds it", "arena/object.c",
     "    if (is_kept(arena, id))\n        return true;\n", "",
     [("kill_pipe", "send")]),
    ("what an object kept is not looked at when it goes", "arena/object.c",
     "            destroy_if_unheld(self, keeps[i] & 0xffff);\n", "            ;\n",
     [("kill_open", "open the end that waits")]),
    ("an end that nobody opened is kept for ever", "arena/object.c",
     "            kini_store_sc(&object->kept_by[0], 0);\n", "            (void)object;\n",
     [("kill_open", "close an end, the other one was opened")]),
]
