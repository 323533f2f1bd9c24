"""The devices of bench_gpu.py: a GPU, through torch, and a model of a GPU on the CPU, with the same operations."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.metadata import packages_distributions
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np

import rrm_core
from benchmarks.common.losses import Array

ROOT = Path(__file__).parents[2]

Call = Callable[[int], Any]  # reweights the arrays with this index


class NoDeviceError(Exception):
    """There is no device to run on; the message gives the reason."""


def kernel_name(name: str) -> str | None:
    """Return the name of a kernel of this project from its mangled or qualified name; None for other kernels."""
    match = re.search(r"rrm(?:::|\d)cuda(?:::|\d+)([a-z_]+)", name)
    return match and match[1]


class TorchDevice:
    """The current CUDA device of torch."""

    is_gpu = True
    packages = ("rrm-core", "numpy", "torch")

    def __init__(self) -> None:
        if find_spec("torch") is None:
            raise NoDeviceError("torch isn't installed")
        import torch

        if torch.version.cuda is None:
            raise NoDeviceError(f"torch {torch.__version__} was built without CUDA")
        if not torch.cuda.is_available():
            raise NoDeviceError("torch finds no CUDA device")
        if "cuda" not in rrm_core.available_backends():
            raise NoDeviceError("rrm_core was built without its CUDA kernels (CMake option RRM_CUDA)")
        self.torch = torch
        self.device = torch.device("cuda", torch.cuda.current_device())
        self.properties = torch.cuda.get_device_properties(self.device)
        self.name = self.properties.name
        self.cache_bytes = getattr(self.properties, "L2_cache_size", 0) or 64 << 20
        self.cupy = None
        if find_spec("cupy") is not None:
            import cupy

            self.cupy = cupy
            self.packages = (*self.packages, packages_distributions()["cupy"][0])

    def about(self) -> dict[str, Any]:
        """Return the properties of the device."""
        properties = {
            "processors": self.properties.multi_processor_count,
            "compute capability": f"{self.properties.major}.{self.properties.minor}",
            "memory": self.properties.total_memory,
            "L2 cache": self.cache_bytes,
            "CUDA": self.torch.version.cuda,
        }
        if shutil.which("nvidia-smi") is not None:
            queries = ("driver_version", "power.limit", "clocks.max.sm", "clocks.max.memory")
            command = [
                "nvidia-smi",
                f"--id={self.device.index}",
                f"--query-gpu={','.join(queries)}",
                "--format=csv,noheader",
            ]
            run = subprocess.run(command, capture_output=True, text=True, check=False)
            if run.returncode == 0:
                properties |= dict(zip(queries, run.stdout.strip().split(", "), strict=False))
        return properties

    def free_caches(self) -> None:
        """Free the memory that the frameworks cache."""
        self.torch.cuda.empty_cache()
        if self.cupy is not None:
            self.cupy.get_default_memory_pool().free_all_blocks()

    def free_bytes(self) -> int:
        """Return the number of free bytes of device memory."""
        self.free_caches()
        return int(self.torch.cuda.mem_get_info(self.device)[0])

    # ---- Arrays
    def on_host(self, values: Array, *, pinned: bool = False) -> Any:
        """Return an array in host memory that `reweight` accepts and that `copy` copies to and from the device."""
        bits = values.dtype == np.uint16  # NumPy has no bfloat16
        array = self.torch.from_numpy(values.view(np.int16) if bits else values)
        array = array.view(self.torch.bfloat16) if bits else array
        return array.pin_memory() if pinned else array

    def put(self, values: Array) -> Any:
        return self.on_host(values).to(self.device)

    def memory(self, n_bytes: int) -> Any:
        return self.torch.zeros(n_bytes, dtype=self.torch.uint8, device=self.device)

    def copy(self, target: Any, source: Any) -> None:
        """Copy between arrays on the device or the host, asynchronously if the host memory is pinned."""
        target.copy_(source, non_blocking=True)

    def fill(self, array: Any) -> None:
        array.fill_(1)

    def same(self, a: Any, b: Any) -> bool:
        """Return whether two arrays of weights are equal to the bit."""
        bits = self.torch.int64 if a.dtype == self.torch.float64 else self.torch.int32
        return bool(self.torch.equal(a.view(bits), b.view(bits)))

    # ---- Time
    def wait(self) -> None:
        self.torch.cuda.synchronize()

    def seconds(self, call: Call, calls: int) -> float:
        """Return the device time of a call in seconds, the mean of `calls` calls.

        The device sleeps until the host has enqueued all of them, if torch supports it, so that launch times of the
        host are not included. Calls that wait for the device include that wait.
        """
        torch = self.torch
        start = torch.cuda.Event(enable_timing=True)
        end = torch.cuda.Event(enable_timing=True)
        self.wait()
        began = time.perf_counter()
        call(0)
        enqueuing = calls * (time.perf_counter() - began)
        self.wait()
        if hasattr(torch.cuda, "_sleep"):
            torch.cuda._sleep(int(2e9 * min(2 * enqueuing + 1e-4, 0.02)))  # in clock cycles of about half a nanosecond
        start.record()
        for i in range(calls):
            call(i)
        end.record()
        self.wait()
        return max(float(start.elapsed_time(end)), 1e-4) / 1e3 / calls  # the resolution of events is half a microsecond

    # ---- CUDA
    def graph(self, call: Callable[[], Any]) -> Callable[[], Any]:
        """Capture a call in a CUDA graph, and return the function that replays it."""
        graph = self.torch.cuda.CUDAGraph()
        self.wait()
        with self.torch.cuda.graph(graph):
            call()
        return graph.replay

    def kernels(self, call: Callable[[], Any]) -> dict[str, dict[str, float]] | None:
        """Return launches and microseconds of one call by kernel; None if the profiler has no access to them."""
        from torch.autograd import DeviceType
        from torch.profiler import ProfilerActivity, profile

        self.wait()
        with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as profiler:
            call()
            self.wait()
        kernels: dict[str, dict[str, float]] = {}
        for event in profiler.events():
            if event.device_type == DeviceType.CUDA:
                row = kernels.setdefault(kernel_name(event.name) or event.name, {"launches": 0, "us": 0.0})
                row["launches"] += 1
                row["us"] = round(row["us"] + event.time_range.elapsed_us(), 3)
        return kernels or None


class StandInDevice:
    """The tests' model of CUDA's runtime library and their arrays on it. Its times are meaningless."""

    is_gpu = False
    packages = ("rrm-core", "numpy")
    name = "stand-in (a model on the CPU)"
    cache_bytes = 10_000  # so that several sets of small arrays are used in turn

    def __init__(self, folder: Path) -> None:
        if shutil.which("nvcc") is None:
            raise NoDeviceError("the stand-in runs what nvcc makes of the kernels, and nvcc isn't installed")
        if str(ROOT / "tests") not in sys.path:
            sys.path.append(str(ROOT / "tests"))
        from cuda_model.cudart.fake_gpu import Gpu
        from cuda_model.cudart.stand_in import MODULE, StandIn, build

        folder.mkdir(parents=True, exist_ok=True)
        if not _is_up_to_date(folder / MODULE):
            build(folder)
        self.stand_in = StandIn(folder)
        self.stand_in.reset()
        rrm_core._cuda = sys.modules["rrm_core._cuda"] = self.stand_in.module
        self.gpu = Gpu(self.stand_in)

    def about(self) -> dict[str, Any]:
        return {}

    def free_caches(self) -> None:
        pass

    def free_bytes(self) -> int:
        return host_free_bytes()

    # ---- Arrays
    def on_host(self, values: Array, *, pinned: bool = False) -> Any:
        return values.view(ml_dtypes.bfloat16) if values.dtype == np.uint16 else values

    def put(self, values: Array) -> Any:
        return self.gpu.asarray(self.on_host(values))

    def memory(self, n_bytes: int) -> Any:
        return self.put(np.zeros(n_bytes, np.uint8))

    def copy(self, target: Any, source: Any) -> None:
        if isinstance(target, np.ndarray):
            target[...] = source.get()
        else:
            target[...] = source

    def fill(self, array: Any) -> None:
        array[...] = np.ones(array.shape, array.dtype)

    def same(self, a: Any, b: Any) -> bool:
        return bool(a.get().tobytes() == b.get().tobytes())

    # ---- Time
    def wait(self) -> None:
        self.stand_in.call_finish_all()

    def seconds(self, call: Call, calls: int) -> float:
        self.wait()
        began = time.perf_counter()
        for i in range(calls):
            call(i)
        self.wait()
        return (time.perf_counter() - began) / calls

    # ---- CUDA
    def graph(self, call: Callable[[], Any]) -> Callable[[], Any]:
        return call  # it has no graphs, but their replay can be tested

    def kernels(self, call: Callable[[], Any]) -> dict[str, dict[str, float]] | None:
        def bytes_read(name: str) -> int:
            return int(self.stand_in.call_bytes_read(f"{len(name)}{name}".encode()))

        self.wait()
        self.stand_in.log()
        before = {name: bytes_read(name) for name in ("sample_brackets", "scan_losses", "radix_pass", "write_weights")}
        call()
        self.wait()
        launched = [kernel_name(entry.kernel) for entry in self.stand_in.log() if entry.what == "launch"]
        return {
            name: {"launches": launched.count(name), "bytes read": bytes_read(name) - before[name]}
            for name in before
            if name in launched
        }


Device = TorchDevice | StandInDevice


def _is_up_to_date(module: Path) -> bool:
    """Return whether the module of the model is newer than all of its sources."""
    patterns = ("csrc/*.h", "csrc/cuda/*", "bindings/*", "tests/cuda_model/*/*.cpp", "tests/cuda_model/*/*.h")
    sources = [path for pattern in patterns for path in ROOT.glob(pattern)]
    sources += [ROOT / "tests" / "cuda_model" / "cudart" / "stand_in.py", *ROOT.glob("tests/cuda_model/ptx/*.py")]
    return module.exists() and module.stat().st_mtime > max(path.stat().st_mtime for path in sources)


def host_free_bytes() -> int:
    """Return the number of available bytes of host memory."""
    meminfo = Path("/proc/meminfo")
    if not meminfo.exists():
        return 1 << 62  # unknown
    match = re.search(r"MemAvailable:\s+(\d+) kB", meminfo.read_text())
    return int(match[1]) << 10 if match else 1 << 62
