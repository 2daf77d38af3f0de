# SPDX-License-Identifier: MIT
"""What is planted, a file for each layer.

A fault: name, file below src, what is there, what is put in its place, [(program, scenario)], and
further (file, what is there, what is put in its place) where two places guard against the same.
The text to replace must be there exactly once; one of the scenarios must notice.

Known to be harmless, and so not planted: leaving out the WON mark. A claim that is known to be won
is resolved without a look at the living; without the mark the look is taken, and at worst the
reaper waits for a living rival. Marking the unit of a message that is taken after its header says
so: until its cell is released, or the journal ended, the message is found without the mark. Closing
an end that keeps no pipe yet as if it did: what it shuts is about to be swept.
"""
from . import arena, chan, coll, proc, sync

FAULTS = arena.FAULTS + sync.FAULTS + chan.FAULTS + coll.FAULTS + proc.FAULTS
