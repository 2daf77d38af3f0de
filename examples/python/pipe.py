"""A conversation over a pipe, until the other side hangs up."""

from multiprocessing import Pipe, Process


def answer(connection):
    """Each question gets one answer."""
    while True:
        question = connection.recv()
        if question is None:
            break
        connection.send({"question": question, "answer": question[::-1]})
    connection.close()


if __name__ == "__main__":
    ours, theirs = Pipe()
    process = Process(target=answer, args=(theirs,))
    process.start()
    theirs.close()
    for question in ["stressed", "drawer", [1, 2, 3]]:
        ours.send(question)
        print(ours.recv())
    ours.send(None)
    try:
        ours.recv()
    except EOFError:
        print("the other side has hung up")
    process.join()
