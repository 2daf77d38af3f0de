# SPDX-License-Identifier: MIT
"""Faults in src/proc: offers; and in the places of src/arena that they rest on."""

FAULTS = [
    ("what is added to an offer is not kept", "proc/offer.c",
     "        kini_bitmap_add(arena, offer->slot, handle->tag);\n", "        ;\n",
     [("kill_offer", "add a queue")]),
    ("the key is answered before the object is kept", "proc/offer.c",
     "        kini_bitmap_add(arena, offer->slot, handle->tag);\n    pthread_mutex_unlock(&arena->mutex);\n",
     "        *ret_key = handle->tag;\n    pthread_mutex_unlock(&arena->mutex);\n"
     "    if (r == 0)\n        kini_bitmap_fill(arena, offer->slot, ret_key, 1);\n",
     [("kill_offer", "add it again")]),
    ("who takes a place back takes it from who has come", "proc/offer.c",
     "        kini_os_close(offer->pending.token);\n",
     "        kini_os_byte_unlock(offer->pending.token, offer->slot);\n"
     "        kini_os_close(offer->pending.token);\n",
     [("kill_offer", "take back, the process has come")]),
    ("a place that was taken back is left to others", "proc/offer.c",
     "            kini_reap(arena, offer->slot);\n", "            ;\n",
     [("kill_offer", "take back")]),
    ("a reserved place counts as dead", "arena/participant.c",
     "    if (state == KINI_RESERVED || identity.pid == 0)\n        return life_by_token(arena, slot);\n",
     "    if (state == KINI_RESERVED || identity.pid == 0)\n        return KINI_OS_DEAD;\n",
     [("kill_offer", "accept")]),
]
