"""What takes part in a comparison, by its words: a solver, perhaps with options of its own, or a file."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Annotated, Any, cast

from cyclopts import Parameter
from pydantic import PositiveInt

from exitwave.cli.arguments import RUNNING, SOLVER
from exitwave.cli.solver_options import named, run_command, with_options
from exitwave.data.errors import InputError
from exitwave.data.result import Result
from exitwave.problems.setup import Setup
from exitwave.running.compare import Chosen, Contestant, candidates, with_epochs
from exitwave.running.stopping import Stop
from exitwave.solvers.base import Solver
from exitwave.solvers.refined import Refined, refine
from exitwave.solvers.refinement_options import RefinementOptions
from exitwave.solvers.registry import solvers
from exitwave.solvers.spec import from_spec, require_network, to_spec

StopResidual = Annotated[
    float | None, Parameter(help="End as soon as the residual is at or below this.", group=RUNNING)
]
Patience = Annotated[
    PositiveInt | None, Parameter(help="End after so many epochs without 0.1 % improvement.", group=RUNNING)
]


@dataclass(frozen=True, kw_only=True)
class ForAll:
    """What is asked of every solver that does not say otherwise of itself."""

    epochs: int | None
    refinement: RefinementOptions
    stop: Stop

    def asked_of(self, chosen: Chosen) -> Chosen:
        """The solver with what is asked of all; results are there already, and jobs that refine say what."""
        if isinstance(chosen, Result):
            return chosen
        how = chosen if isinstance(chosen, Contestant) else Contestant(solver=chosen)
        made = cast("Solver[Any]", with_epochs(how.solver, self.epochs))
        solver = made if isinstance(made, Refined) else refine(made, self.refinement)
        return replace(how, solver=solver, stop=how.stop or self.stop)


def contestants(words: Sequence[str], common: ForAll) -> dict[str, Chosen]:
    """Everyone by a name of its own. Raises InputError, FormatError and what the command line raises for unknown options."""
    own = {word: " ".join(word.split()) for word in words if " " in word.strip() and not Path(word).exists()}
    if twice := next((word for word in own if words.count(word) > 1), None):
        raise InputError(f"{twice!r} is given twice; the same options give the same image")
    # Together, so that those of one name are told apart.
    plain = iter(candidates([word for word in words if word not in own]) if len(own) < len(words) or not words else ())
    chosen = dict[str, Chosen]()
    for word in words:
        if word in own:
            chosen[own[word]] = _with_options(word, common)
        else:
            name, each = next(plain)
            chosen[name] = common.asked_of(each)
    return chosen


def _with_options(word: str, common: ForAll) -> Contestant:
    """A solver with options of its own: "rpie --alpha 0.1 --modes 2", as they would follow `reconstruct SCAN`."""
    tokens = _split(word)
    name = named(tokens)
    if name is None:
        if not Path(tokens[0]).exists():
            require_network(tokens[0])
        raise InputError(
            f"{tokens[0]} takes no options here: those of a job stand in its file, and a result is made already"
        )
    if name in solvers() and solvers()[name].combines:
        raise InputError(f"{name} is made of other solvers; describe it in a YAML file, and give that")
    cls, rest = with_options(name, tokens), [token for token in tokens if token != name]
    stated = {token.partition("=")[0].lstrip("-").removeprefix("no-").replace("-", "_") for token in rest}
    found: list[Contestant] = []

    # fmt: off
    def command(*, solver=None, setup=None, refinement=None, stop_residual=None, patience=None):  # pyright: ignore
        # fmt: on
        asked = {each.name: getattr(refinement, each.name) for each in fields(RefinementOptions) if each.name in stated}
        made = from_spec(to_spec(solver or cls()))
        if "epochs" not in stated:
            made = cast("Solver[Any]", with_epochs(made, common.epochs))
        stop = Stop(residual=stop_residual, patience=patience)
        found.append(
            Contestant(
                solver=refine(made, replace(common.refinement, **asked)),
                setup=setup or Setup(),
                own=tuple(each.name for each in fields(Setup) if each.name in stated),
                stop=common.stop if stop == Stop() else stop,
            )
        )
        return 0

    command.__annotations__ = {
        "solver": Annotated[cls | None, Parameter(name="*", group=SOLVER)],
        "setup": Annotated[Setup | None, Parameter(name="*", group=RUNNING)],
        "refinement": Annotated[RefinementOptions | None, Parameter(name="*", group=RUNNING)],
        "stop_residual": StopResidual,
        "patience": Patience,
    }
    run_command(name, command, rest, {**RefinementOptions.renamed, **cls.renamed})
    if not found:
        # Its help was asked for.
        raise SystemExit(0)
    return found[0]


def _split(word: str) -> tuple[str, ...]:
    try:
        return tuple(shlex.split(word))
    except ValueError as error:
        raise InputError(f"{word!r} is not understood: {error}; write 'rpie --alpha 0.1'") from error
