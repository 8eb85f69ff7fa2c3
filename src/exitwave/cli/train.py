"""exitwave train NAME SCAN... --save FOLDER: the options are those of the network, plus how to read and how to run."""

from collections.abc import Callable, Sequence
from inspect import signature
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter
from rich.console import Console
from torch import Tensor, distributed

from exitwave.cli.arguments import FILES, READING, RUNNING, SOLVER, Prepare
from exitwave.cli.solver_options import known, leading, listed, named, run_command, with_options
from exitwave.cli.training_progress import Previews, watching_training
from exitwave.data.errors import InputError, did_you_mean
from exitwave.data.estimate import Estimate, PtychoEstimate
from exitwave.data.measurement import Measurement
from exitwave.data.scan import Scan
from exitwave.io.assemble import ReadOptions
from exitwave.io.files import read_estimate, read_prepared, read_probe, read_truth
from exitwave.io.network_paths import as_word
from exitwave.io.weights import read_record
from exitwave.running.train import TrainingRun, train as teach
from exitwave.solvers.base import Solver
from exitwave.solvers.neural.network_solver import NetworkSolver
from exitwave.solvers.neural.trained_solver import TrainedSolver
from exitwave.solvers.neural.training_examples import TrainingExample
from exitwave.solvers.registry import solvers
from exitwave.solvers.spec import from_spec, to_spec

TRUTH = "truth"
"""In place of a label's file: what a simulated scan knows of its sample."""
Scans = Annotated[
    Path,
    Parameter(
        name="SCAN",
        help="Scans to learn from, in any known format. autophasenn learns from made crystals where none are given.",
        group=FILES,
    ),
]
Save = Annotated[
    Path,
    Parameter(help="Folder for the network, its log (log.jsonl) and a preview picture (preview.png).", group=FILES),
]
Probes = Annotated[
    tuple[Path, ...],
    Parameter(
        name="--probe",
        help="Result, product or CXI file whose probe is taken: one for all scans, or one each in their order (repeatable). "
        "Guessed from the data when left out, which is less good: reconstruct one scan first and give its result.",
        group=FILES,
        negative="",
    ),
]
Labels = Annotated[
    tuple[str, ...],
    Parameter(
        help="Known images of the scans, for networks that learn from labels: a result file for each in their order "
        f"(repeatable), or the word {TRUTH} for what simulated scans know of themselves.",
        group=FILES,
        negative="",
    ),
]


def train(*tokens: Annotated[str, Parameter(show=False, allow_leading_hyphen=True)]) -> int | None:
    """Train a network on scans: exitwave train NAME SCAN... --save FOLDER"""
    chosen, rest = _chosen(tokens), list(tokens)
    if chosen is None:
        _explain()
        chosen, rest = "ptychopinn", ["ptychopinn", "--help"]
    rest.remove(chosen)
    cls = with_options(chosen, tokens)
    takes = (
        " [SCAN...] --save FOLDER" if getattr(solvers()[chosen], "makes_examples", False) else " SCAN... --save FOLDER"
    )
    return run_command(f"exitwave train {chosen}", command_of(cls), rest, cls.renamed, takes=takes)


def trainable() -> dict[str, type[Any]]:
    """The solvers with a network that can be trained."""
    return known({name for name, cls in solvers().items() if issubclass(cls, TrainedSolver)})


def _chosen(tokens: tuple[str, ...]) -> str | None:
    """The network to train; None where help is asked for or nothing is said. InputError for what is none."""
    word = named(tokens)
    if word in solvers():
        if word in trainable():
            return word
        raise InputError(f"{word} has no network to train; there are {', '.join(sorted(trainable()))}")
    if word is not None:
        raise InputError(
            f"{word} is trained already; name the method and start from its weights: exitwave train "
            f"{'|'.join(sorted(trainable()))} SCAN... --weights {word} --save FOLDER"
        )
    if not tokens or {"-h", "--help"} & set(tokens):
        return None
    first = (leading(tokens) or ["nothing"])[0]
    raise InputError(
        f"name first what to train, {' or '.join(sorted(trainable()))}; found {first!r}{did_you_mean(first, trainable())}"
    )


def _explain() -> None:
    listed("Usage: exitwave train NAME SCAN... --save FOLDER [OPTIONS]\n\nNetworks:", trainable())
    Console().print(
        "\nThe trained network is a solver: exitwave reconstruct SCAN FOLDER -o OUT.h5. Ctrl-C keeps what was learned; the "
        "same command with --resume goes on.\n"
        "Options of one: exitwave train NAME --help. Of ptychopinn; those outside the first box are common to all:\n",
        highlight=False,
    )


def command_of(cls: type[Solver[Any]], *, of_probes: bool | None = None) -> Callable[..., int]:
    """The command that trains a solver with these options; probe and labels are asked for where they are made use of."""
    if of_probes is None:
        of_probes = issubclass(solvers()[cls.name], NetworkSolver)

    def of_scans(*scans, save, probe=(), labels=(), solver=None, training=None, reading=None, prepare=()):  # pyright: ignore
        loaded = _loaded(scans, reading, prepare)
        if not loaded:
            raise InputError("there is nothing to train on; give at least one scan")
        examples = _examples(loaded, _probes(probe, scans), _labels(labels, scans))
        return _taught(solver or cls(), examples, save, training)

    def of_patterns(*scans, save, solver=None, training=None, reading=None, prepare=()):  # pyright: ignore
        return _taught(solver or cls(), _loaded(scans, reading, prepare), save, training)

    known = {
        "scans": Scans,
        "save": Save,
        "probe": Probes,
        "labels": Labels,
        "solver": Annotated[cls | None, Parameter(name="*", group=SOLVER)],
        "training": Annotated[TrainingRun | None, Parameter(name="*", group=RUNNING)],
        "reading": Annotated[ReadOptions | None, Parameter(name="*", group=READING)],
        "prepare": Prepare,
    }
    command = of_scans if of_probes else of_patterns
    command.__doc__ = f"{(cls.__doc__ or '').strip()}"
    command.__annotations__ = {name: known[name] for name in known if name in signature(command).parameters}
    return command


def _loaded(scans: tuple[Path, ...], reading: ReadOptions | None, prepare: tuple[str, ...]) -> list[Measurement]:
    return [read_prepared(scan, reading, prepare) for scan in scans]


def _taught(told: Solver[Any], examples: Sequence[Any], save: Path, training: TrainingRun | None) -> int:
    """Train what the options describe, watched."""
    network = from_spec(to_spec(told))
    assert isinstance(network, TrainedSolver)
    if save.exists() and not save.is_dir():
        raise InputError(f"--save {save} is a file; give the name of a folder")
    previews = Previews(save)
    with watching_training(network.name, group=network.frames_per_sample, previews=previews) as watch:
        teach(network, examples, save=save, run=training, watch=watch)
    return _tell(save, previews, needs_probe=network.takes_probe_as_given)


def _examples(
    scans: Sequence[Measurement], probes: Sequence[Tensor], labels: Sequence[Estimate]
) -> list[TrainingExample]:
    """Scans with what is known of them: one probe for all or one each, labels for all or none."""
    examples: list[TrainingExample] = []
    for n, scan in enumerate(scans):
        probe, label = probes[n % len(probes)] if probes else None, labels[n] if labels else None
        if not isinstance(scan, Scan) or not isinstance(label, PtychoEstimate | None):
            raise InputError(f"networks learn from ptychography scans and images of such; one of them is {scan.title}")
        examples.append(TrainingExample(scan=scan, probe=probe, label=label))
    return examples


def _probes(paths: tuple[Path, ...], scans: tuple[Path, ...]) -> list[Tensor]:
    if len(paths) not in (0, 1, len(scans)):
        raise InputError(
            f"{len(paths)} probes for {len(scans)} scans; give one for all, or one for each in their order"
        )
    return [read_probe(each) for each in paths]


def _labels(words: tuple[str, ...], scans: tuple[Path, ...]) -> list[Estimate]:
    """The label of each scan, from its file or from the truth that the scan holds."""
    each = words * len(scans) if words == (TRUTH,) else words
    if len(each) not in (0, len(scans)):
        raise InputError(
            f"{len(each)} labels for {len(scans)} scans; give one for each in their order, or --labels {TRUTH} for simulated scans"
        )
    pairs = zip(each, scans, strict=False)
    return [read_truth(scan) if word == TRUTH else read_estimate(Path(word)) for word, scan in pairs]


def _tell(folder: Path, previews: Previews, *, needs_probe: bool) -> int:
    """Print the outcome and what to do next; the exit code says whether it was interrupted (130)."""
    if distributed.is_available() and distributed.is_initialized() and distributed.get_rank() > 0:
        # One of several processes tells.
        return 0
    record = read_record(folder)
    ending, loss, held_out = str(record.get("ending")), record.get("loss"), record.get("held_out_loss")
    losses = "" if loss is None else f", loss {loss:.4g}" + ("" if held_out is None else f", held out {held_out:.4g}")
    how = "trained already" if previews.untouched and ending == "finished" else ending
    print(f"{how}: {record.get('epochs')} epochs{losses} -> {folder}")
    if ending != "finished":
        print(f"the network as it is now is in {folder}; go on with the same command and --resume")
    else:
        probe = " --probe RESULT" if needs_probe else ""
        print(f"next: exitwave reconstruct SCAN {as_word(folder)}{probe} -o out.h5")
    previews.draw()
    return 0 if ending == "finished" else 130
