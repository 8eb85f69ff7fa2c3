"""exitwave --install-completion: the shell completes commands, solvers, options and their values."""

from collections.abc import Callable, Mapping
from dataclasses import field, fields, make_dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, cast, get_type_hints

from cyclopts import App, Parameter
from cyclopts.completion.detect import ShellDetectionError

from exitwave.cli import COMMANDS
from exitwave.cli.arguments import FILES
from exitwave.cli.reconstruct import command_of as reconstruct_with
from exitwave.cli.solver_options import known
from exitwave.cli.train import command_of as train_with, trainable
from exitwave.data.errors import InputError
from exitwave.solvers.base import Solver

Shell = Literal["bash", "zsh", "fish"]
ZSH_NAME = "_cyclopts_exitwave"
"""Of the file as of the function in it: only so zsh finds it."""
_IN_ZSH = "it works from the next shell on, where ~/.zshrc ends with: autoload -Uz compinit && compinit"


def install_completion(
    *,
    shell: Annotated[Shell | None, Parameter(help="Shell to complete in; the one at work if left out.")] = None,
    output: Annotated[
        Path | None,
        Parameter(name=["--output", "-o"], help="Only write the script here, to be loaded from your own startup file."),
    ] = None,
) -> None:
    """Let the shell complete commands, solvers and options: writes a script, and a line that loads it into the startup file."""
    app = completed()
    try:
        path = app.install_completion(shell=shell, output=output, add_to_startup=output is None)
    except ShellDetectionError as error:
        raise InputError("no shell was recognised; name one, --shell bash, zsh or fish") from error
    if path.read_text("utf-8").startswith("#compdef"):
        how = _IN_ZSH if output is None else f"name it {ZSH_NAME}, in a folder of $fpath; {_IN_ZSH}"
    elif output is None:
        how = "it works in every shell that is opened from now on"
    else:
        how = "load it in your shell's startup file"
    print(f"completion -> {path}; {how}")


def completed() -> App:
    """The command line with the options of all solvers where its own depend on the solver named."""
    app = App(name="exitwave", version_flags=["--version"], default_parameter=Parameter(negative_iterable=()))
    open_ended = {"reconstruct": _reconstruct, "train": _train}
    for name, help in COMMANDS:
        app.command(open_ended[name]() if name in open_ended else f"exitwave.cli.{name}:{name}", name=name, help=help)
    return app


def _reconstruct() -> Callable[..., int]:
    command = reconstruct_with(cast("type[Solver[Any]]", _all_options(known())), lambda job, report: 0)
    return _naming(command, "further", known())


def _train() -> Callable[..., int]:
    command = train_with(cast("type[Solver[Any]]", _all_options(trainable())), of_probes=True)
    return _naming(command, "scans", trainable())


def _naming(command: Callable[..., int], argument: str, classes: Mapping[str, Any]) -> Callable[..., int]:
    """The command, with the names of solvers where one may stand."""
    command.__annotations__[argument] = Annotated[Literal[tuple(sorted(classes))], Parameter(group=FILES)]
    return command


def _all_options(classes: Mapping[str, type[Solver[Any]]]) -> type[Any]:
    """One class with every option that one of several has; of the first, where they share a name."""
    found: dict[str, Any] = {}
    for cls in classes.values():
        hints = get_type_hints(cls, include_extras=True)
        for option in fields(cast(Any, cls)):
            found.setdefault(option.name, hints[option.name])
    made = make_dataclass("AnySolver", [(name, hint, field(default=None)) for name, hint in found.items()])
    # Of the standard library otherwise, in whose classes cyclopts looks for no options.
    made.__module__ = __name__
    return made
