"""The GPU kernels agree with their definition; without a GPU they run in Triton's interpreter, in a process of its own."""

import importlib.util
import os
import subprocess
import sys

import pytest

CHECK = """
import torch
from exitwave.physics.kernels import cuda, reference

generator = torch.Generator().manual_seed(0)
def waves(*shape): return torch.randn(*shape, dtype=torch.complex64, generator=generator)
def rand(*shape): return torch.rand(*shape, generator=generator)
def close(one, other):
    one, other = torch.as_tensor(one), torch.as_tensor(other)
    assert float((one - other).abs().max()) <= 1e-5 * float(other.abs().max()), (one, other)

corners = torch.tensor([[0, 0], [3, 2], [4, 5], [3, 2]])
for modes in (1, 3):
    for copies in (1, 4):
        probes, canvas, change = waves(copies, modes, 4, 5), waves(9, 11), waves(4, modes, 4, 5)
        close(cuda.exit_waves(canvas, probes, corners, None), reference.exit_waves(canvas, probes, corners))
        stack, index, trusted, behind = rand(6, 4, 5), torch.tensor([5, 0, 2, 1]), (rand(4, 5) > 0.2).float(), rand(4, 5)
        one, other = change.clone(), change.clone()
        close(cuda.impose_modulus_(one, stack, index, trusted, behind),
              reference.impose_modulus_(other, stack, index, trusted, behind))
        close(one, other)
        found = []
        for of in (cuda, reference):
            total, lit = torch.zeros_like(canvas), torch.zeros(9, 11)
            probe_total, seen, spread = torch.zeros(modes, 4, 5, dtype=torch.complex64), torch.zeros(4, 5), change.clone()
            top = of.add_object_(change, probes, corners, total, lit)
            of.add_probe_(change, canvas, corners, probe_total, seen)
            of.times_conjugate_window_(spread, canvas, corners, seen)
            found.append([total.clone(), lit.clone(), top, probe_total, seen, spread])
        for one, other in zip(*found): close(one, other)
        total, lit = found[0][0], found[0][1]
        pair = [(canvas.clone(), total.clone(), lit.clone()) for _ in range(2)]
        numbers = {"share": 0.9, "floor": 0.2}
        weight = probes[0, 0].clone()
        close(cuda.direction_(*pair[0][1:], canvas, weight, corners, **numbers),
              reference.direction_(*pair[1][1:], canvas, weight, corners, **numbers))
        close(pair[0][1], pair[1][1])
        pair = [(canvas.clone(), total.clone(), lit.clone()) for _ in range(2)]
        cuda.step_windows_(*pair[0], corners, (4, 5), gain=0.5, **numbers)
        reference.step_windows_(*pair[1], corners, (4, 5), gain=0.5, **numbers)
        close(pair[0][0], pair[1][0])
        assert not bool(pair[0][1].any()) and not bool(pair[0][2].any())
print("agree")
"""


@pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="Triton is not installed here")
def test_gpu_kernels_agree_with_their_definition():
    environment = {**os.environ, "TRITON_INTERPRET": "1", "OMP_NUM_THREADS": "1"}
    ran = subprocess.run([sys.executable, "-c", CHECK], env=environment, capture_output=True, text=True, timeout=300)
    assert ran.returncode == 0, ran.stderr[-2000:]
    assert ran.stdout.strip() == "agree"
