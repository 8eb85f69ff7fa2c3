"""Available memory, so that what cannot fit is refused before the system kills the program."""

import os
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from exitwave.data.errors import InputError

CGROUP = Path("/sys/fs/cgroup")


def available_memory_bytes() -> int:
    """Memory that can still be taken without swapping, within the limits of a batch job or container."""
    return max(min(_limits()), 0)


def require_memory(needed_bytes: float, what: str) -> None:
    """Raise InputError when `what`, a phrase such as "frames of 100 x 100 pixels", needs more memory than is free."""
    free = available_memory_bytes()
    if needed_bytes > free:
        raise InputError(
            f"{what}: that takes {size(needed_bytes)} of memory but {size(free)} are free; make it smaller (--prepare bin=2, "
            "--prepare crop=128, --prepare select=::2), or repair what the file says"
        )


def parse_size(words: str | int) -> int:
    """Bytes from words such as 8GB, 500 MB, 1.5 GiB or a plain number. Raises InputError for anything else."""
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([kmgt]?)(i?)b?\s*", str(words).lower())
    if found is None or float(found[1]) <= 0:
        raise InputError(f"{words!r} is no amount of memory; write 8GB, 500MB or 1.5GiB")
    power = "kmgt".find(found[2]) + 1 if found[2] else 0
    return int(float(found[1]) * (1024 if found[3] else 1000) ** power)


def scratch() -> tuple[Path, int, bool]:
    """Where temporary files go, the bytes free there, and whether that is memory and no disk."""
    folder = Path(tempfile.gettempdir())
    return folder, shutil.disk_usage(folder).free, _in_memory(folder.resolve())


def _in_memory(folder: Path) -> bool:
    try:
        mounts = [line.split()[1:3] for line in Path("/proc/mounts").read_text().splitlines()]
    except OSError:
        return False
    holding = [(len(place), kind) for place, kind in mounts if folder.is_relative_to(place)]
    return max(holding, default=(0, ""))[1] in ("tmpfs", "ramfs")


def size(count: float) -> str:
    """Bytes in words."""
    for power, unit in ((40, "TiB"), (30, "GiB"), (20, "MiB")):
        if count >= 2**power:
            return f"{count / 2**power:.3g} {unit}"
    return f"{count / 2**10:.3g} KiB"


def _limits() -> Iterator[int]:
    yield _free_in_system()
    if sys.platform != "win32":
        import resource

        allowed = resource.getrlimit(resource.RLIMIT_AS)[0]
        if allowed != resource.RLIM_INFINITY:
            yield allowed - (_number(Path("/proc/self/statm")) or 0) * os.sysconf("SC_PAGE_SIZE")
    for limit, taken in (
        ("memory.max", "memory.current"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"),
    ):
        most, used = _number(CGROUP / limit), _number(CGROUP / taken)
        if most is not None and used is not None:
            # Files that the system keeps in memory count as used but are given up when asked.
            yield most - used + _reclaimable((CGROUP / taken).with_name("memory.stat"))


def _free_in_system() -> int:
    try:
        with open("/proc/meminfo") as lines:
            for line in lines:
                if line.startswith("MemAvailable"):
                    return int(line.split()[1]) * 1024
    except OSError:
        pass
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2


def _number(path: Path) -> int | None:
    try:
        word = path.read_text().split()[0]
    except (OSError, IndexError):
        return None
    return int(word) if word.isdigit() else None


def _reclaimable(statistics: Path) -> int:
    try:
        lines = statistics.read_text().splitlines()
    except OSError:
        return 0
    found = [line.split()[1] for line in lines if line.startswith(("inactive_file ", "total_inactive_file "))]
    return int(found[-1]) if found else 0
