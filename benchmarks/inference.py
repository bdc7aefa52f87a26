"""How fast a patient is predicted by the paper's protocol, and how much of the device's arithmetic that uses.

    python benchmarks/inference.py                          # small networks, any CPU
    python benchmarks/inference.py --device cuda --full     # the paper's networks on 182 x 157 x 216 voxels

Random weights and random images: what takes time does not depend on them. Everything printed is measured here.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import sys
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from nnunet_chordoma.labels import CHORDOMA
from nnunet_chordoma.training.compact import write_compact
from nnunet_chordoma.training.networks import RESIDUAL_UNET_FEATURES, UNET_FEATURES, ResidualUNet3D, UNet3D
from nnunet_chordoma.training.protocols import PaperProtocol
from nnunet_chordoma.training.trained_model import TrainedModel

FULL_SIZE, FULL_PATCH = (182, 157, 216), (128, 128, 128)
SMALL_SIZE, SMALL_PATCH = (44, 40, 52), (40, 32, 32)
SMALL_FEATURES = (8, 16, 32)
GOAL_SECONDS = 3.0


def build(kind: str, full: bool) -> torch.nn.Module:
    network, features = (UNet3D, UNET_FEATURES) if kind == "unet" else (ResidualUNet3D, RESIDUAL_UNET_FEATURES)
    return network(1, len(CHORDOMA), features if full else SMALL_FEATURES).eval()


def as_model(kind: str, network: torch.nn.Module, patch: tuple[int, ...]) -> TrainedModel:
    return TrainedModel(
        name=kind,
        folder=Path(),
        scheme=CHORDOMA,
        dataset_json={},
        plans=SimpleNamespace(transpose_forward=[0, 1, 2]),
        configuration=SimpleNamespace(patch_size=patch),
        trainer=kind,
        network=network.to(memory_format=torch.channels_last_3d),
        weights=(network.state_dict(),),
        mirror_axes=None,
        fingerprint=(),
    )


def tflop_per_patch(kind: str, full: bool, edges: tuple[int, ...]) -> float:
    """Counted on tensors without memory; one multiply-add is two operations."""
    with torch.device("meta"), torch.no_grad():
        network, image = build(kind, full), torch.empty(1, 1, *edges)
        with FlopCounterMode(display=False) as counter:
            network(image)
    return float(counter.get_total_flops()) / 1e12


def matrix_rate_tflops(device: torch.device, dtype: torch.dtype) -> float:
    """The device's own rate of arithmetic: square matrix products, best of several."""
    n = 8192 if device.type == "cuda" else 2048
    a, b = (torch.randn(n, n, device=device, dtype=dtype) for _ in range(2))
    return 2 * n**3 / 1e12 / min(seconds(lambda: a @ b, device, 8))


def seconds(work: Any, device: torch.device, repeats: int) -> list[float]:
    """Wall time of each repetition after one that warms up."""
    measured = []
    for _ in range(repeats + 1):
        synchronise(device)
        start = time.perf_counter()
        work()
        synchronise(device)
        measured.append(time.perf_counter() - start)
    return measured[1:]


def synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


def peak_gib(device: torch.device) -> tuple[float, str]:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated() / 2**30, "GPU"
    kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return kib / 2**20 / (1024 if sys.platform == "darwin" else 1), "process"


def written(probabilities: np.ndarray[Any, np.dtype[np.float32]]) -> str:
    with tempfile.TemporaryDirectory() as folder:
        full, compact = Path(folder) / "a.npz", Path(folder) / "a.npz8"
        start = time.perf_counter()
        np.savez_compressed(full, probabilities=probabilities)
        middle = time.perf_counter()
        write_compact(compact, probabilities)
        end = time.perf_counter()
        sizes = [path.stat().st_size / 2**20 for path in (full, compact)]
    return (
        f"CASE.npz {middle - start:.1f} s ({sizes[0]:.0f} MiB), CASE.npz8 {end - middle:.1f} s ({sizes[1]:.0f} MiB); "
        "random weights compress worst"
    )


def report(kind: str, arguments: argparse.Namespace, device: torch.device) -> None:
    patch = FULL_PATCH if arguments.full else SMALL_PATCH
    x, y, z = arguments.size or (FULL_SIZE if arguments.full else SMALL_SIZE)
    protocol = PaperProtocol(device, arguments.batch_size, arguments.precision)
    model = as_model(kind, build(kind, arguments.full), patch)
    windows = protocol.windows(model)
    shape = [max(n, p) for n, p in zip((z, y, x), patch, strict=True)]
    patches = len(windows.boxes(shape))
    image = torch.from_numpy(np.random.default_rng(0).normal(size=(1, z, y, x)).astype(np.float32))
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    times = seconds(lambda: protocol.on_network_grid(model, image), device, arguments.repeats)
    memory, whose = peak_gib(device)
    per_patient = statistics.median(times)
    edges = tuple(n + 2 * windows.mirror_padding for n in patch)
    plain, padded = (tflop_per_patch(kind, arguments.full, e) for e in (patch, edges))
    rate = matrix_rate_tflops(device, protocol.precision or torch.float32)
    name = "3D U-Net" if kind == "unet" else "residual 3D U-Net"
    print(f"{name}, {x} x {y} x {z} voxels, {patches} patches: {protocol.describe(model)}")
    print(f"  per patient          {per_patient:.3f} s (median of {len(times)}, {min(times):.3f} to {max(times):.3f})")
    print(f"  per patch            {1000 * per_patient / patches:.1f} ms")
    print(f"  peak memory          {memory:.2f} GiB ({whose})")
    print(f"  arithmetic per patch {padded:.4g} TFLOP with the mirrored rim, {plain:.4g} without")
    print(f"  matrix rate          {rate:.4g} TFLOP/s ({protocol.precision or torch.float32}, measured)")
    limit = patches / per_patient / rate
    print(f"  of the limit         {padded * limit:.1%} ({plain * limit:.1%} without the rim)")
    if arguments.full:
        print(f"  goal                 {GOAL_SECONDS:g} s per patient: {per_patient / GOAL_SECONDS:.2f} of it")
    if arguments.write:
        print(f"  writing, beside it   {written(protocol.on_network_grid(model, image))}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--full", action="store_true", help="the paper's networks and patches")
    parser.add_argument("--size", type=int, nargs=3, metavar=("X", "Y", "Z"), help="voxels of the image")
    parser.add_argument("--network", default="both", choices=["unet", "residual", "both"])
    parser.add_argument("--batch-size", type=int, help="patches at a time")
    parser.add_argument("--precision", default="auto", choices=["auto", "float32", "bfloat16", "float16"])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--write", action="store_true", help="also time the files")
    arguments = parser.parse_args()
    device = torch.device(arguments.device)
    if device.type == "cuda" and not torch.cuda.is_available():
        parser.error("torch finds no CUDA GPU here")
    where = torch.cuda.get_device_name() if device.type == "cuda" else f"CPU, {torch.get_num_threads()} thread(s)"
    print(f"{where}, torch {torch.__version__}")
    for kind in ("unet", "residual") if arguments.network == "both" else (arguments.network,):
        report(kind, arguments, device)


if __name__ == "__main__":
    main()
