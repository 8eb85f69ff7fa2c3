"""PtychoNN: a network that is taught known images, the baseline of PtychoPINN."""

from typing import Annotated, ClassVar

from pydantic import BeforeValidator, Field, InstanceOf, PositiveInt

from exitwave.data.errors import InputError
from exitwave.solvers.neural.network_solver import NetworkSolver
from exitwave.solvers.neural.patch_encoder import PatchEncoder
from exitwave.solvers.neural.reconstruction_network import NetworkArchitecture, as_architecture
from exitwave.solvers.neural.training_data import Supervised, TrainingScans
from exitwave.solvers.registry import solver


@solver
class PtychoNN(NetworkSolver):
    """A network taught with known images of other samples (labels): the supervised baseline, for comparison.

    Cherukara et al., Appl. Phys. Lett. 117, 044103 (2020). It cannot know what its labels never showed; PtychoPINN needs
    no labels. Labels are the transmission of the sample, where the paper has the illuminated sample.
    """

    name: ClassVar[str] = "ptychonn"
    learns_from_labels: ClassVar[bool] = True
    network: Annotated[InstanceOf[NetworkArchitecture], BeforeValidator(as_architecture)] = PatchEncoder(
        whole_frames=True
    )
    """encoder: the published network, one pattern in, its frame out. unet: that of ptychopinn, taught instead of left to learn."""
    group: PositiveInt = 1
    """Frames that are seen together; 1 as published. More are merged where they overlap."""
    learning_rate: Annotated[float, Field(gt=0, le=1)] = 1e-3
    """Largest step of Adam."""

    def require_ready(self) -> None:
        if self.weights is None or self.finetune:
            raise InputError(
                f"{self.name} learns from labels, which a scan at hand does not have: exitwave train {self.name} SCAN --labels "
                "RESULT --save FOLDER, then exitwave reconstruct SCAN FOLDER, without finetune"
            )

    def training_task(self, data: TrainingScans, seed: int) -> Supervised:
        return Supervised(self.group_samples(data, seed))
