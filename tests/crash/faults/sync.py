# SPDX-License-Identifier: MIT
"""Faults in src/sync: what waits and what is waited for."""

FAULTS = [
    ("a descriptor that goes stays counted in its queues", "sync/ready.c",
     "        leave(ready);\n        pthread_mutex_unlock", "        pthread_mutex_unlock",
     [("kill_sync", "a descriptor, one waits for any")]),
    ("the wake of a chosen one that died is not passed on", "sync/waitq.c",
     "        kini_waitq_wake(self, queue, 1);\n        kini_ilock_lock(self, &queue->lock);\n    }\n",
     "        kini_ilock_lock(self, &queue->lock);\n    }\n",
     [("kill_wait", "wait in get, one waits behind, then an item comes")]),
    ("the wake of a chosen one that died is passed on after it is forgotten", "sync/waitq.c",
     "        kini_waitq_wake(self, queue, 1);\n        kini_ilock_lock(self, &queue->lock);\n    }\n",
     "        kini_store(&dead->wait_state, KINI_WAIT_NONE);\n"
     "        kini_waitq_wake(self, queue, 1);\n        kini_ilock_lock(self, &queue->lock);\n    }\n",
     [("kill_wait", "the reaper of a chosen one, one waits behind")]),
    ("the wake that the dead owed is not given", "sync/waitq.c",
     "        kini_nudge_thread(arena, &arena->threads[target]);\n"
     "    kini_store(&dead->wake_target, 0);\n",
     "        ;\n    kini_store(&dead->wake_target, 0);\n",
     [("kill_wait", "put, and one waits")]),
    ("entering a wait queue has no journal", "sync/waitq.c",
     "    begin_change(queue);\n    kini_store(&me->wait_ticket",
     "    kini_store(&queue->version, kini_load(&queue->version) + 1);\n"
     "    kini_store(&me->wait_ticket",
     [("kill_wait", "wait in get, then an item comes")]),
    ("choosing a waiter has no journal", "sync/waitq.c",
     "        begin_change(queue);\n        unlink_thread(self->arena, queue, index);\n",
     "        kini_store(&queue->version, kini_load(&queue->version) + 1);\n"
     "        unlink_thread(self->arena, queue, index);\n",
     [("kill_wait", "put, and one waits")]),
    ("a dead waiter stays listed", "sync/waitq.c",
     "    if (queued)\n        unlink_thread(self->arena, queue, (uint32_t)(dead",
     "    if (false)\n        unlink_thread(self->arena, queue, (uint32_t)(dead",
     [("kill_wait", "wait in get, then an item comes")]),
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
    ("a list changes before its journal says so", "sync/waitq.c",
     "    kini_journal_begin(&queue->lock, JOURNAL_CHANGE);\n"
     "    kini_store(&queue->version, kini_load(&queue->version) + 1);\n",
     "    kini_store(&queue->version, kini_load(&queue->version) + 1);\n"
     "    kini_journal_begin(&queue->lock, JOURNAL_CHANGE);\n",
     [("kill_semaphore", "acquire in vain, one waits")]),
    ("the journal of a list ends before the change", "sync/waitq.c",
     "    kini_store_rel(&queue->version, kini_load(&queue->version) + 1);\n"
     "    kini_journal_end(&queue->lock);\n",
     "    kini_journal_end(&queue->lock);\n"
     "    kini_store_rel(&queue->version, kini_load(&queue->version) + 1);\n",
     [("kill_semaphore", "acquire in vain, one waits")]),
    ("a dead one that waits for any stays counted", "sync/waitq.c",
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
    ("a notification that waits for the lock is lost", "sync/waitq.c",
     "        kini_waitq_wake(self, token, 1);\n", "        ;\n",
     [("kill_condition", "condition, wait, notified, the lock is held")]),
    ("who is moved to the lock does not know why", "sync/waitq.c",
     "    kini_store(&t->wait_token, kini_offset(arena, from));\n    append(arena, to, index);\n",
     "    append(arena, to, index);\n",
     [("kill_condition", "condition, wait, notified, the lock is held")]),
    ("a move is not finished", "sync/waitq.c",
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
