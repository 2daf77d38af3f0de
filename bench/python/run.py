"""All benchmarks of the Python package, one after another: python bench/python/run.py"""

import lock
import measure
import queues
import starts
import values

if __name__ == "__main__":
    measure.header()
    for part in (queues, lock, values, starts):
        part.main()
