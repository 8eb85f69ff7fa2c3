"""Run one function of a study in a process of its own, with a stated number of threads; its result comes back as JSON.

Thread counts cannot be changed reliably inside a process, and peak memory belongs to a process.
"""

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

BENCHMARKS = Path(__file__).parents[1]
COUNTS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")


def call(function: str, arguments: dict[str, Any], threads: int) -> Any:
    """The result of `studies.floor:measure`, say, in a fresh process; None, after a message, where that process failed."""
    command = [sys.executable, str(Path(__file__)), function, json.dumps(arguments)]
    done = subprocess.run(command, env=environment(threads), stdout=subprocess.PIPE, text=True)
    if done.returncode:
        print(done.stdout, end="")
        print(f"   failed: {function} {arguments}, exit code {done.returncode}", flush=True)
        return None
    *messages, _, result = done.stdout.splitlines()
    print("".join(f"{line}\n" for line in messages), end="", flush=True)
    return json.loads(result)


def environment(threads: int) -> dict[str, str]:
    """Variables under which libraries use so many threads, and threads that wait do not spin."""
    return {**os.environ, **dict.fromkeys(COUNTS, str(threads)), "OMP_WAIT_POLICY": "PASSIVE"}


def main() -> None:
    """What the child does: import, call, print."""
    module, _, name = sys.argv[1].partition(":")
    # In place of the folder of this file, whose modules are not to be met without their package.
    sys.path[0] = str(BENCHMARKS)
    result = getattr(importlib.import_module(module), name)(**json.loads(sys.argv[2]))
    print()
    print(json.dumps(result))


if __name__ == "__main__":
    main()
