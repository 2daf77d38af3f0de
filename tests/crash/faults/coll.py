# SPDX-License-Identifier: MIT
"""Faults in src/coll: values and arrays."""

FAULTS = [
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
]
