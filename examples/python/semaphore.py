"""Eight workers, three seats: never more than three of them work at once."""

from multiprocessing import Process, Semaphore, Value


def work(seats, seated, most):
    """Take a seat, note how many are taken, leave it."""
    for _ in range(25):
        with seats:
            with seated.get_lock():
                seated.value += 1
                with most.get_lock():
                    most.value = max(most.value, seated.value)
            with seated.get_lock():
                seated.value -= 1


if __name__ == "__main__":
    seats, seated, most = Semaphore(3), Value("i", 0), Value("i", 0)
    processes = [Process(target=work, args=(seats, seated, most)) for _ in range(8)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    print("seated at the end:", seated.value)
    print("never more than three:", 1 <= most.value <= 3)
