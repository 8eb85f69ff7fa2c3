"""The command line: reads arguments, prints, exits. Nothing heavy is imported before a command runs."""

import gc
import os
import sys
import warnings
from collections.abc import Generator, Sequence
from contextlib import contextmanager

from cyclopts import App, CycloptsError, Parameter

from exitwave.cli.work_line import STARTING, telling_work
from exitwave.data.errors import (
    AmbiguousNameWarning,
    DoubtfulImageWarning,
    ExaminedWarning,
    OverwriteWarning,
    RenamedOptionWarning,
)
from exitwave.data.progress import phase

APP = App(
    name="exitwave",
    help="Coherent diffraction data in, trustworthy images out.\n\n"
    "Start with: exitwave info SCAN, then exitwave reconstruct SCAN -o out.h5",
    version_flags=["--version"],
    # No --empty-... for every option that takes several values.
    default_parameter=Parameter(negative_iterable=()),
)
COMMANDS = (
    ("info", "Say what is in a scan: geometry, overlap, photons, bad pixels, and what looks wrong with its cure."),
    ("simulate", "Make a scan of a known object, with noise and flaws as asked."),
    ("reconstruct", "Turn a scan into an image with one solver."),
    ("train", "Train a network on scans; it then is a solver like any other."),
    (
        "run",
        "Run a job written as a YAML file; chains of solvers are lists.\n\n"
        "Its keys are `scan`, `output`, `solver` (a name, {name: ..., options}, the folder of a trained network, or a list of "
        "them: a chain), `reading` for what is stated about the file, `prepare` for a list of steps, and the options of "
        "`exitwave reconstruct` with underscores. Relative paths start from the job's folder. `exitwave info SCAN --save-job "
        "job.yaml` writes one.\n\n"
        "Exit code 3 says that the verdict on an image is failed; the result is written all the same.",
    ),
    (
        "compare",
        "Compare several solvers on one scan, side by side in one HTML page.\n\n"
        "A solver may have options of its own, in quotes, as they follow `reconstruct SCAN`; other options are for all that do "
        "not say otherwise:\n\n"
        "exitwave compare scan.cxi rpie 'rpie --refine-positions' 'newton --modes 2' old.h5 job.yaml --split-half -o page.html",
    ),
    (
        "evaluate",
        "Tell how good a result is: verdict, fit, resolution, and errors where the truth is known.\n\n"
        "exitwave evaluate out.h5 --split-half",
    ),
    ("report", "Write one self-contained HTML page with pictures and figures of a result."),
    ("view", "Look at a result in the browser: pan, zoom, contrast, line profiles, slices, modes."),
    ("export", "Write a result, a scan or a trained network in another file format."),
    ("recipe", "Draft of a recipe for an HDF5 file of unknown layout: what was recognised, and what is missing."),
    ("doctor", "Check this installation: versions, devices, memory, codecs."),
)
"""Names and what each does, in a sentence."""
# Commands are named by import path and loaded when called: `exitwave --help` must answer at once.
for _name, _help in COMMANDS:
    # Their help depends on the solver named, so that they answer --help themselves.
    _own = {"help_flags": [], "version_flags": []} if _name in ("reconstruct", "train") else {}
    APP.command(f"exitwave.cli.{_name}:{_name}", name=_name, help=_help, **_own)
APP.command(
    "exitwave.cli.completion:install_completion",
    name="--install-completion",
    help="Let the shell complete commands, solvers and options (bash, zsh, fish).",
)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; exits with 0, 2 for anything the user can mend, 3 for a failed image, 130 after Ctrl-C."""
    # Threads that spin while they wait make everything many times slower where another program shares the processors.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    # What is imported stays: looking for garbage in it again and again, while it grows, takes a seventh of the time.
    gc.disable()
    sys.exit(answer(sys.argv[1:] if arguments is None else list(arguments)))


def answer(arguments: Sequence[str]) -> int:
    """Run the command line and give its exit code; errors become one line on standard error."""
    from exitwave.cli.errors import error_line, held_lines

    try:
        with _warnings_in_a_line(), telling_work():
            with phase(STARTING):
                command, bound, _ = APP.parse_args(arguments, exit_on_error=False, print_error=False)
            _collect_garbage()
            code = int(command(*bound.args, **bound.kwargs) or 0)
            # Here, not at the end of the process, where it could not be told any more that the reader went away.
            sys.stdout.flush()
            return code
    except KeyboardInterrupt as interruption:
        # The first is what was being done, the others what is kept.
        notes = getattr(interruption, "__notes__", [])
        print("exitwave: interrupted" + " while " * bool(notes) + "; ".join(notes), file=sys.stderr)
        return 130
    except (Exception, SystemExit) as error:
        if isinstance(error, SystemExit):
            return int(error.code) if isinstance(error.code, int) else 0
        text, code = error_line(error)
        if text:
            print("\n  ".join([f"exitwave: {text}", *held_lines(error)]), file=sys.stderr)
        return code


def _collect_garbage() -> None:
    """Collect garbage from now on, but for what was imported."""
    if not gc.isenabled():
        gc.freeze()
        gc.enable()


@contextmanager
def _warnings_in_a_line() -> Generator[None]:
    """Let warnings of images, names and options look like errors, on one line; those of other packages stay as they are."""
    with warnings.catch_warnings():
        before, told = warnings.showwarning, set[str]()

        def show(message, category, filename, lineno, file=None, line=None):  # pyright: ignore
            if issubclass(category, AmbiguousNameWarning | RenamedOptionWarning) and str(message) in told:
                # A command looks several times at the network and the options that it names.
                return
            if issubclass(category, ExaminedWarning):
                print(f"exitwave: examined: {' '.join(str(message).split())}", file=sys.stderr)
            elif issubclass(category, OverwriteWarning):
                print(f"exitwave: {message}", file=sys.stderr)
            elif issubclass(category, DoubtfulImageWarning | AmbiguousNameWarning | RenamedOptionWarning):
                told.add(str(message))
                warn(str(message))
            else:
                before(message, category, filename, lineno, file, line)

        warnings.showwarning = show
        ours = (ExaminedWarning, DoubtfulImageWarning, OverwriteWarning, AmbiguousNameWarning, RenamedOptionWarning)
        for category in ours:
            warnings.simplefilter("always", category)
        yield


def warn(text: str) -> None:
    """Say on standard error why something may not be trusted, in one line."""
    print(f"exitwave: warning: {' '.join(text.split())}", file=sys.stderr)


__all__ = ["APP", "CycloptsError", "answer", "main", "warn"]
