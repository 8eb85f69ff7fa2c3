"""Measure the iterative methods: speed against their FFTs, against other packages, quality, growth, real data.

    python benchmarks/iterative.py floor
    python benchmarks/iterative.py peers --python ~/peers/bin/python --seeds 0 1
    python benchmarks/iterative.py course | quality | growth | petra | twin

Each study prints as it goes and writes benchmarks/results/iterative_STUDY.json with the command, machine and date;
`python docs/tables.py` puts the figures into docs/benchmarks.md. Nothing else should run on the machine meanwhile.
docs/benchmarks.md tells how the environment of the other packages is made.
"""

import argparse
import json
import os
import platform
import sys
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
STUDIES = ("floor", "peers", "course", "quality", "growth", "petra", "twin")


def main() -> None:
    """Run one study and keep what it found."""
    told = arguments()
    # Before torch is loaded: the judge of this process takes what the reconstructions take.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    study = import_module(f"studies.{told.study}")
    print(f"-- {study.__doc__.splitlines()[0]}", flush=True)
    rows = study.run(**chosen(told))
    if not rows:
        raise SystemExit("nothing was measured")
    path = told.out or RESULTS / f"iterative_{told.study}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    record = {"about": " ".join(study.__doc__.split()), "rows": rows, **circumstances()}
    if told.add and path.exists():
        record = merged(json.loads(path.read_text()), record, study.KEY)
    path.write_text(json.dumps(record, indent=1) + "\n")
    print(f"-- written to {path}")


def arguments() -> argparse.Namespace:
    """What the command line asks for; each study takes what concerns it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", choices=STUDIES)
    parser.add_argument("--solvers", nargs="+", default=[], help="only these solvers of exitwave")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0], help="peers, course, quality, twin: drawings")
    parser.add_argument("--threads", nargs="+", type=int, default=[1, 2], help="floor: numbers of threads")
    parser.add_argument("--python", type=Path, help="peers: interpreter of the environment with the other packages")
    parser.add_argument(
        "--problems", nargs="+", default=["small", "big"], choices=("small", "big"), help="peers, course"
    )
    parser.add_argument("--engines", nargs="+", default=[], help="peers: only these, such as 'cdtools simple'")
    parser.add_argument(
        "--budget", type=float, help="peers: seconds for each run, 80 (small) and 50 (big) if not stated"
    )
    parser.add_argument("--frames", nargs="+", type=int, default=[], help="growth: sizes of scans")
    parser.add_argument("--epochs", type=int, help="petra, twin: epochs of every method")
    parser.add_argument("--every", type=int, default=4, help="twin: take every so many-th of the 1595 frames")
    parser.add_argument("--add", action="store_true", help="keep the rows measured before that are not measured now")
    parser.add_argument("--out", type=Path, help="write here instead")
    return parser.parse_args()


def chosen(told: argparse.Namespace) -> dict[str, Any]:
    """The arguments of one study."""
    match told.study:
        case "floor":
            return {"solvers": told.solvers, "threads": told.threads}
        case "peers":
            own = {"names": told.problems, "engines": told.engines, "budget_s": told.budget}
            return {"python": told.python, "seeds": told.seeds, "solvers": told.solvers, **own}
        case "course":
            return {"names": told.problems, "seeds": told.seeds, "solvers": told.solvers}
        case "quality":
            return {"seeds": told.seeds, "solvers": told.solvers}
        case "growth":
            return {"solvers": told.solvers, "frames": told.frames}
        case "petra":
            return {"solvers": told.solvers, "epochs": told.epochs}
        case _:
            return {"solvers": told.solvers, "epochs": told.epochs, "every": told.every, "seeds": told.seeds}


def merged(old: dict[str, Any], new: dict[str, Any], key: tuple[str, ...]) -> dict[str, Any]:
    """New rows added to those measured before on the same machine; equal ones are replaced."""
    if old["machine"] != new["machine"]:
        raise SystemExit(f"the other rows were measured on {old['machine']}; measure all of them here, without --add")
    taken = {tuple(row[name] for name in key) for row in new["rows"]}
    kept = [row for row in old["rows"] if tuple(row[name] for name in key) not in taken]
    return {**new, "rows": kept + new["rows"], "command": f"{old['command']}; {new['command']}"}


def circumstances() -> dict[str, str]:
    """What a reader needs to repeat the figures."""
    import torch

    words = sys.argv[1:]
    if "--out" in words:
        del words[words.index("--out") : words.index("--out") + 2]
    return {
        "command": f"python benchmarks/iterative.py {' '.join(map(spoken, words))}",
        "machine": f"{processor()}, {os.cpu_count()} processors, torch {torch.__version__}",
        "date": datetime.now(UTC).date().isoformat(),
    }


def spoken(word: str) -> str:
    """A word of the command line as one would type it anywhere: no paths of this machine."""
    word = "PYTHON" if word.startswith(("/", "~")) else word
    return f"'{word}'" if " " in word else word


def processor() -> str:
    """Name of the processor, where the system tells."""
    listed = Path("/proc/cpuinfo")
    lines = listed.read_text().splitlines() if listed.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


if __name__ == "__main__":
    main()
