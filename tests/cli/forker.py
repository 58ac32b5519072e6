"""Runs commands for tests, each in a process of its own that has loaded the program already.

    python -P forker.py SOCKET

To load it takes half a second of a core, and the tests run hundreds of commands. A message asks
for one, with three files: its arguments, directory and environment as JSON, and where its output
and its errors go. It is answered with the exit code.
"""

import json
import os
import socket
import sys
from importlib import import_module

# Not the commands themselves: some look into the environment as they are loaded.
LOADED = [
    "zypher.__main__",
    "zypher.cli.app",
    "zypher.cli.serving",
    "zypher.client.asynchronous",
    "zypher.client.blocking",
    "zypher.program",
    "zypher.server.uvicorn",
    "rich.console",
]


def main() -> None:
    """Run what is asked for, one at a time, until nobody can ask any more."""
    for module in LOADED:
        import_module(module)
    with socket.socket(fileno=int(sys.argv[1])) as asking:
        while True:
            message, files, *_ = socket.recv_fds(asking, 1, 3)
            if not message:
                return
            pid = os.fork()
            if not pid:
                break
            for file in files:
                os.close(file)
            _, status = os.waitpid(pid, 0)
            asking.send(str(os.waitstatus_to_exitcode(status)).encode())
    with os.fdopen(files.pop(0)) as asked:
        arguments, cwd, environment = json.load(asked)
    become(arguments, cwd, environment, files)


def become(arguments: list[str], cwd: str, environment: dict[str, str], outputs: list[int]) -> None:
    """Be the command."""
    for file, number in zip(outputs, (1, 2), strict=True):
        os.dup2(file, number)
        os.close(file)
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = ["zypher", *arguments]

    from zypher.__main__ import main

    main()


if __name__ == "__main__":
    main()
