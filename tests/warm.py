"""`augcompress` without its start: a process that has loaded it forks for each command.

`python tests/warm.py ADDRESS` serves, one command after the other; `python -IS tests/warm.py
ADDRESS WORD ...` is `augcompress WORD ...`, carried out over there.
"""

import json
import os
import socket
import sys


def call(address: str, words: list[str]) -> int:
    """Hand over words, folder, environment and streams; the exit code."""
    with socket.socket(socket.AF_UNIX) as line:
        line.connect(address)
        text = json.dumps([words, os.getcwd(), dict(os.environ)]).encode()
        socket.send_fds(line, [b"%8d" % len(text)], [0, 1, 2])
        line.sendall(text)
        return int(line.makefile().read() or 70)


def serve(address: str) -> None:
    """Fork for each call; returns in the children, as the command that was asked for."""
    with socket.socket(socket.AF_UNIX) as door:
        door.bind(address)
        door.listen()
        print("open", flush=True)
        while True:
            line, _ = door.accept()
            size, streams, *_ = socket.recv_fds(line, 8, 3)
            words, folder, environment = json.loads(line.makefile("rb").read(int(size)))
            if (child := os.fork()) == 0:
                break
            line.sendall(b"%d" % os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
            for open_one in (line.detach(), *streams):
                os.close(open_one)
    for number, stream in enumerate((*streams, line.detach())):
        os.dup2(stream, number) if number < 3 else os.close(stream)
    sys.stdin, sys.stdout, sys.stderr = (os.fdopen(n, "w" if n else "r") for n in range(3))
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = ["augcompress", *words]


if __name__ == "__main__":
    if sys.argv[2:]:
        sys.exit(call(sys.argv[1], sys.argv[2:]))
    import scipy.stats  # noqa: F401
    import sklearn.datasets  # noqa: F401
    import torchvision  # noqa: F401

    from augcompress import cli, compare, gate, render, report, search, stages  # noqa: F401

    serve(sys.argv[1])
    cli.main()
