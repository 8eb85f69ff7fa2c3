"""Options that several solvers share: their range, and what they mean where the class says nothing of its own."""

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field, NonNegativeInt

from exitwave.problems.objective import NoiseName


@dataclass(frozen=True)
class Meaning:
    """What an option means, said once for all solvers that have it. The docstring of a class's own field goes before."""

    text: str


@dataclass(frozen=True)
class WhenDiverging:
    """Which way to change an option when a run diverges, so that steps become shorter."""

    change: Literal["lower", "raise"]


Fraction = Annotated[float, Field(ge=0, le=1)]
Gain = Annotated[float, Field(gt=0, le=2), WhenDiverging("lower")]
ProbeGain = Annotated[float, Field(gt=0, le=1), WhenDiverging("lower")]

UpdateProbe = Annotated[bool, Meaning("Whether to retrieve the probe; switch off when it is known.")]
ProbeStart = Annotated[
    NonNegativeInt,
    Meaning(
        "Epochs before the probe is first updated; raise it when the first probe is good and the object still empty."
    ),
    WhenDiverging("raise"),
]
Settle = Annotated[
    Fraction,
    Meaning(
        "Share of the epochs, at the end, over which steps shrink to a tenth, so that noise averages out; 0 is as published."
    ),
]
Inertia = Annotated[
    float,
    Field(gt=0, le=1),
    Meaning(
        "Weight of the object so far, as a share of the brightest illumination: holds what hardly any light reached. "
        "0.1-0.2 for little overlap, less when dim parts come slowly; 1e-4 is usual elsewhere."
    ),
]

CountNoise = Annotated[
    NoiseName | None,
    Meaning(
        "How counts scatter; as the problem was posed when left out, by default `amplitude`, which suits most scans; "
        "`poisson` when absolute transmission matters with few photons; `gaussian` for one read-out noise everywhere; "
        "`smooth_l1` when some pixels or frames are wrong."
    ),
]
TotalVariation = Annotated[
    Fraction,
    Meaning(
        "Total variation: differences of about this much between neighbouring pixels (transmission) are smoothed away; "
        "0.001-0.05."
    ),
]
Isotropic = Annotated[
    bool,
    Meaning(
        "Whether total variation treats all directions alike; switch off for samples of horizontal and vertical edges."
    ),
]
Sparsity = Annotated[
    Fraction,
    Meaning("Pull towards vacuum: what differs from a transmission of 1 by less than about this much is removed."),
]

Feedback = Annotated[float, Field(gt=0, le=1)]
ShrinkEvery = Annotated[
    NonNegativeInt,
    Meaning("Epochs between two updates of the support from the object (shrink-wrap); 0 keeps the support."),
]
SigmaStart = Annotated[
    float,
    Field(gt=0, le=20),
    Meaning("Blur of the amplitude for the first update of the support; larger where it begins far too large."),
]
SigmaEnd = Annotated[float, Field(gt=0, le=20), Meaning("Blur for the last update; 1-1.5 follows edges closely.")]
Threshold = Annotated[
    float,
    Field(gt=0, lt=1),
    Meaning(
        "Share of the blurred amplitude's maximum above which a pixel belongs to the object. Lower it when thin or dark parts "
        "are cut off, raise it when the support stays loose."
    ),
]

Adaptive = Annotated[
    bool,
    Meaning(
        "Choose the threshold anew at every update of the support, by how well pixels held out are predicted "
        "(`free_fraction`), and keep within the first support: for sparse objects with hard edges."
    ),
]
Positive = Annotated[
    bool,
    Meaning(
        "Keep the object real and positive: for thin absorbing or opaque objects, whose pattern equals its own mirror image."
    ),
]
CoherenceEvery = Annotated[
    NonNegativeInt,
    Meaning(
        "Epochs between two updates of the kernel by which a partly coherent beam blurs the pattern, found from the pattern "
        "itself (Richardson-Lucy); 0 keeps what the start knows of it, which is nothing in a new run. Each epoch costs twice as "
        "much then."
    ),
]
