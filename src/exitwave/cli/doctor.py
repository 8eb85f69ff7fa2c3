"""exitwave doctor"""

import importlib.util
import os
import platform
from importlib.metadata import PackageNotFoundError, version

PACKAGES = (
    "exitwave",
    "torch",
    "numpy",
    "scipy",
    "h5py",
    "hdf5plugin",
    "tifffile",
    "pydantic",
    "scikit-image",
    "matplotlib",
)
EXTRAS = (
    ("train", ("lightning_fabric",), "training"),
    ("tensorboard", ("tensorboard",), "TensorBoard"),
    ("export", ("onnx", "onnxscript", "onnxruntime", "openvino"), "ONNX, OpenVINO"),
)
"""What not everybody needs: extra, its modules, and what it is for."""


def doctor() -> int:
    """Check this installation: versions, devices, memory, codecs. Exit code 2 when something is broken, with its cure."""
    faults: list[str] = []
    print(f"python           {platform.python_version()} on {platform.platform()}")
    for package in PACKAGES:
        try:
            print(f"{package:16} {version(package)}")
        except PackageNotFoundError:
            faults.append(f"{package} is not installed: pip install exitwave again")
    faults += _torch() + _torchvision() + _codecs()
    from exitwave.io.memory import available_memory_bytes, scratch, size
    from exitwave.solvers.registry import solvers

    print(f"memory           {size(available_memory_bytes())} free, {os.cpu_count()} processors")
    folder, free, in_memory = scratch()
    kind = "memory, no disk: set TMPDIR to a folder on disk for scans larger than memory" if in_memory else "on disk"
    print(f"scratch          {size(free)} free in {folder} ({kind})")
    holding = sorted(name for name, cls in solvers().items() if cls.stores_exit_waves)
    print(
        "needs            frames that do not fit are read anew in every epoch (--memory); what a scan takes: exitwave info SCAN"
    )
    if holding:
        print(f"                 exit waves of all frames, in memory or scratch: {', '.join(holding)}")
    print(f"solvers          {', '.join(sorted(solvers()))}")
    for extra, modules, use in EXTRAS:
        missing = [module for module in modules if importlib.util.find_spec(module) is None]
        told = f"not installed; if you need it: pip install 'exitwave[{extra}]'" if missing else "installed"
        print(f"{use:16} {told}")
    for fault in faults:
        print(f"! {fault}")
    print("all is well" if not faults else f"{len(faults)} fault(s)")
    return 2 if faults else 0


def _torch() -> list[str]:
    import torch

    field = torch.polar(torch.ones(8, 8), torch.rand(8, 8))
    kept = torch.fft.fft2(field, norm="ortho").abs().square().sum()
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    devices = [torch.cuda.get_device_name(i) for i in range(count)]
    print(f"devices          cpu ({torch.get_num_threads()} threads)" + "".join(f", {name}" for name in devices))
    return [] if abs(float(kept) - 64) < 1e-3 else ["torch's Fourier transform loses energy: reinstall torch"]


def _torchvision() -> list[str]:
    if importlib.util.find_spec("torchvision") is None:
        return []
    try:
        importlib.import_module("torchvision")
    except Exception as error:
        return [
            f"torchvision is installed but broken ({error}), which breaks other packages: pip uninstall torchvision"
        ]
    return []


def _codecs() -> list[str]:
    import io

    import h5py
    import hdf5plugin
    import numpy as np

    data = np.arange(4096, dtype=np.uint16).reshape(1, 64, 64)
    try:
        with h5py.File(io.BytesIO(), "w") as file:
            stored = file.create_dataset("x", data=data, chunks=data.shape, **hdf5plugin.Bitshuffle(cname="lz4"))
            sound = bool((stored[()] == data).all())
    except OSError:
        sound = False
    print(f"codecs           bitshuffle/LZ4 {'works' if sound else 'FAILS'} (DECTRIS files)")
    return [] if sound else ["bitshuffle/LZ4 does not work: pip install --force-reinstall hdf5plugin"]
