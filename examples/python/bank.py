"""Deposits and withdrawals at the same time; nobody overdraws the account."""

from multiprocessing import Array, Process, RLock

ROUNDS = 300


def deposit(account, lock):
    """Put one in; account: balance, deposits, withdrawals."""
    for _ in range(ROUNDS):
        with lock:
            account[0] += 1
            account[1] += 1


def withdraw(account, lock):
    """Take one out if there is one."""
    for _ in range(ROUNDS):
        with lock:
            with lock:  # whoever has it may take it again
                if account[0] > 0:
                    account[0] -= 1
                    account[2] += 1


if __name__ == "__main__":
    account, lock = Array("q", [100, 0, 0]), RLock()
    processes = [Process(target=work, args=(account, lock)) for work in (deposit, withdraw) * 2]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    balance, deposits, withdrawals = account[:]
    print("deposits", deposits)
    print("balances", balance == 100 + deposits - withdrawals and balance >= 0)
