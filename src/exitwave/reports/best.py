"""A sentence that says which of several reconstructions is best, and why."""

from exitwave.evaluation.comparison import Comparison, ComparisonEntry, value
from exitwave.evaluation.meaning import meaning_of
from exitwave.evaluation.ranking import ALIKE, SECONDS, VERDICT, Ranking, ranking
from exitwave.reports.formatting import duration, quantity


def best_sentence(found: Comparison) -> str:
    """Which is best, by what, and by how much; and whether it may be believed."""
    ranked = ranking(found)
    if ranked is None:
        return "None of them made an image."
    return f"Best: {ranked.best.name}{_why(ranked)}{_believed(ranked)}."


def _why(ranked: Ranking) -> str:
    best, second, criterion = ranked.best, ranked.runner_up, ranked.decided_by
    if second is None:
        return ", the only one that made an image"
    if criterion == VERDICT:
        return f", whose verdict is {_grade(best)}; that of {second.name} is {_grade(second)}"
    if criterion == SECONDS:
        known = best.seconds == best.seconds and second.seconds == second.seconds
        took = f", and they took {duration(best.seconds)} and {duration(second.seconds)}" if known else ""
        return f"; {second.name} is as good (within {100 * ALIKE:g} %){took}"
    meaning = meaning_of(criterion)
    which = "smallest" if meaning.unit == "nyquist" or not meaning.higher_is_better else "largest"
    where = " between halves of the frames" if criterion.endswith("-split") else ""
    told = f"{_told(best, criterion)}; next {second.name} with {_told(second, criterion)}"
    return f", with the {which} {meaning.title.lower()}{where}: {told}"


def _told(entry: ComparisonEntry, metric: str) -> str:
    assert entry.result is not None
    return quantity(value(entry, metric), meaning_of(metric).unit, entry.result.object_pixel_m)


def _believed(ranked: Ranking) -> str:
    match _grade(ranked.best):
        case "failed":
            return "; but its verdict is failed: none of these is an image of the sample"
        case "doubtful" if ranked.decided_by != VERDICT:
            return "; its verdict is doubtful"
        case _:
            return ""


def _grade(entry: ComparisonEntry) -> str:
    return "unknown" if entry.result is None or entry.result.verdict is None else entry.result.verdict.grade
