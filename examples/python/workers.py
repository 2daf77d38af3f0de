"""A pool of workers: map, imap_unordered, apply_async, and an error that comes back."""

from multiprocessing import Pool


def factorial(n):
    """n! of a number that is not negative."""
    if n < 0:
        raise ValueError(f"{n} is negative")
    result = 1
    for i in range(2, n + 1):
        result *= i
    return result


if __name__ == "__main__":
    with Pool(3) as pool:
        print(pool.map(factorial, range(8)))
        print(sorted(pool.imap_unordered(factorial, range(8), chunksize=2)))
        print(pool.apply_async(factorial, (20,)).get())
        try:
            pool.apply(factorial, (-1,))
        except ValueError as error:
            print("an error:", error)
