"""What a reconstruction needs, said before it runs; scans larger than the allowed memory reconstruct all the same."""

import os
import subprocess
import sys
from dataclasses import replace

import h5py
import pytest
import torch

from exitwave.data.errors import FormatError, InputError
from exitwave.io.hdf5.patterns import Hdf5Patterns
from exitwave.io.memory import parse_size
from exitwave.problems.memory_estimate import memory_estimate
from exitwave.problems.ptychography import MemoryBudget, PtychographyProblem
from exitwave.problems.setup import Setup
from exitwave.running.pose import pose
from exitwave.running.reconstruct import reconstruct
from exitwave.solvers.base import Step
from exitwave.solvers.chain import chain
from exitwave.solvers.ptychography.lbfgs import LBFGS
from exitwave.solvers.ptychography.pie import RPIE
from exitwave.solvers.ptychography.projections import DM
from exitwave.solvers.ptychography.quasi_newton import QuasiNewton
from scans import known_scan


@pytest.fixture(scope="module")
def known():
    return known_scan(photons=1e6)


@pytest.mark.parametrize(
    ("words", "size"),
    [("8GB", 8 * 10**9), ("8 gib", 8 * 2**30), ("1.5M", 1_500_000), ("2048", 2048), (4096, 4096), ("1k", 1000)],
)
def test_amounts_of_memory_are_understood(words, size):
    assert parse_size(words) == size


@pytest.mark.parametrize("words", ["", "much", "8 apples", "-3GB", "0", "nan", "8GB8"])
def test_other_words_are_no_amount_of_memory(words):
    with pytest.raises(InputError, match="write 8GB"):
        parse_size(words)


def test_amplitudes_are_held_where_they_fit_and_streamed_where_not(known):
    need = memory_estimate(known.scan, PtychographyProblem.of(known.scan).object_shape)
    assert need.amplitudes == 49 * 32 * 32 * 4
    assert need.waves == 2 * 49 * 32 * 32 * 8
    enough = need.working + 2 * need.amplitudes
    assert not pose(known.scan, setup=Setup(memory=enough)).streamed
    assert pose(known.scan, setup=Setup(memory=enough - 1)).streamed
    assert need.cached(enough)
    assert not need.cached(enough - 1)
    with pytest.raises(InputError, match="free or allowed"):
        pose(known.scan, setup=Setup(memory=need.working - 1))


def test_solvers_that_hold_more_objects_need_more_memory(known):
    shape = PtychographyProblem.of(known.scan).object_shape
    pixels = shape[0] * shape[1]
    assert (
        memory_estimate(known.scan, shape, 25).working - memory_estimate(known.scan, shape, 5).working
        == 20 * 8 * pixels
    )
    assert LBFGS(pairs=10).object_arrays - RPIE().object_arrays == 20
    assert chain(RPIE(), QuasiNewton(history=5)).object_arrays - RPIE().object_arrays == 10
    tight = memory_estimate(known.scan, shape, RPIE().object_arrays).working
    reconstruct(known.scan, RPIE(epochs=1), setup=Setup(memory=tight + 4 * 8 * pixels))
    with pytest.raises(InputError, match="free or allowed"):
        reconstruct(known.scan, LBFGS(epochs=1), setup=Setup(memory=tight + 4 * 8 * pixels))


def test_exit_waves_go_to_disk_where_they_do_not_fit(known):
    need = memory_estimate(known.scan, PtychographyProblem.of(known.scan).object_shape)
    enough = need.working + need.amplitudes + 2 * need.waves
    for memory, fits in ((enough, True), (enough - 2, False)):
        assert need.fit_waves(memory) == fits
        assert pose(known.scan, setup=Setup(memory=memory)).wave_store(1).in_memory == fits


@pytest.mark.parametrize("batch", [5, 16, 49])
def test_streamed_frames_give_the_same_image_as_frames_in_memory(known, batch):
    need = memory_estimate(known.scan, PtychographyProblem.of(known.scan).object_shape)
    solver = RPIE(epochs=3, batch=batch)
    held = reconstruct(known.scan, solver)
    streamed = reconstruct(known.scan, solver, setup=Setup(memory=need.working))
    assert torch.equal(held.estimate.object, streamed.estimate.object)
    assert held.residual == streamed.residual
    assert held.history == streamed.history


def streamed(scan):
    """A problem whose frames are on disk, so to say, and the numbers of those read so far."""
    read: list[int] = []

    class Counting:
        shape = scan.patterns.shape
        in_memory = False

        def read(self, index):
            read.extend(index.tolist())
            return scan.patterns.read(index)

    problem = PtychographyProblem.of(replace(scan, patterns=Counting()), memory=MemoryBudget(cached=0))
    read.clear()
    return problem, read


def test_each_frame_is_read_once_an_epoch(known):
    problem, read = streamed(known.scan)
    for batch in problem.batches(10, 1):
        for frames in problem.prefetch(batch.split(3)):
            problem.amplitude_stack(frames)
    assert sorted(read) == list(range(49))


def test_fitting_object_and_probe_to_exit_waves_reads_no_frame(known):
    problem, read = streamed(known.scan)
    start = replace(known.truth, object=torch.ones_like(known.truth.object), probe=0.8 * known.truth.probe)
    steps = DM(epochs=10, relax=0, probe_start=0).solve(problem, Step(epoch=0, estimate=start))
    # At first it looks how many photons there are.
    next(steps)
    for _ in range(2):
        read.clear()
        next(steps)
        assert sorted(read) == list(range(49))


def test_a_file_that_is_cut_short_while_it_is_streamed_is_named(known, tmp_path):
    path = tmp_path / "frames.h5"
    with h5py.File(path, "w") as file:
        frames = known.scan.frames(slice(None)).numpy()
        file.create_dataset("data", data=frames, chunks=(1, 32, 32), compression="gzip")
    problem = PtychographyProblem.of(
        replace(known.scan, patterns=Hdf5Patterns(path, ("data",))), memory=MemoryBudget(cached=0)
    )
    batches = problem.batches(5, 1)
    next(batches)
    with path.open("rb+") as file:
        file.truncate(20_000)
    with pytest.raises(FormatError, match=r"frames\.h5"):
        list(batches)


# As it is: the examination looks at some hundred frames, however many there are, which takes up to 250 MB more of what the
# program takes beside the memory allowed.
PROGRAM = """
import os, sys, threading, time
import numpy as np, torch
from pathlib import Path
import exitwave as ew
from exitwave.io.hdf5.patterns import Hdf5Patterns
torch.set_num_threads(1)
path, memory, out = sys.argv[1], sys.argv[2], sys.argv[3]
geometry = ew.Geometry.from_energy(8000.0, 2.0, (75e-6, 75e-6))
grid = np.stack(np.meshgrid(np.arange(50), np.arange(60), indexing="ij"), -1).reshape(-1, 2) * 4.0
positions_m = torch.from_numpy(grid * geometry.object_pixel_m((96, 96)))
scan = ew.Scan(patterns=Hdf5Patterns(Path(path), ("data",)), positions_m=positions_m, geometry=geometry)
solver = ew.RPIE(epochs=1)
# The first probe is not searched for: that looks at some frames only.
probe = torch.ones(1, 96, 96, dtype=torch.complex64)
ew.reconstruct(ew.prepared(scan, ("select=0:200",)), solver, setup=ew.Setup(memory="40MB", as_is=True), probe=probe)
def held():
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
def watch():
    while not done:
        seen.append(held())
        time.sleep(0.002)
seen, done = [held()], []
watching = threading.Thread(target=watch)
watching.start()
# Also looked at when an epoch is done, however seldom the thread may have come to it.
look = lambda step, problem: seen.append(held())
result = ew.reconstruct(scan, solver, setup=ew.Setup(memory=memory, as_is=True), probe=probe, watch=look)
done.append(True)
watching.join()
torch.save(result.estimate.object, out)
print(max(seen) - seen[0])
"""


@pytest.mark.skipif(sys.platform != "linux", reason="memory held is read from /proc")
def test_a_scan_twice_as_large_as_the_allowed_memory_reconstructs_within_it(tmp_path):
    path, frames, n = tmp_path / "large.h5", 3000, 96
    # 111 MB of amplitudes, of which half are allowed.
    with h5py.File(path, "w") as file:
        stored = file.create_dataset("data", (frames, n, n), dtype="uint16", chunks=(20, n, n))
        field = torch.rand(n, n, generator=torch.Generator().manual_seed(0)) * 50
        for first in range(0, frames, 20):
            rolled = torch.stack([field.roll((f, 3 * f), dims=(0, 1)) for f in range(first, first + 20)])
            stored[first : first + 20] = rolled.numpy().astype("uint16")
    grown, images = [], []
    for memory in ("55MB", "4GB"):
        out = tmp_path / f"{memory}.pt"
        program = subprocess.run(
            [sys.executable, "-c", PROGRAM, path, memory, out],
            capture_output=True,
            text=True,
            check=False,
            # What is freed goes back to the system at once, so that growth is what was held.
            env={**os.environ, "MALLOC_MMAP_THRESHOLD_": "524288"},
        )
        assert program.returncode == 0, program.stderr
        grown.append(int(program.stdout))
        images.append(torch.load(out))
    assert torch.equal(images[0], images[1])
    assert grown[0] < 55e6
    assert grown[1] > 80e6
