"""Build rrm_core._cuda against a stand-in for the CUDA runtime library, and control the stand-in.

The object code is that of an installation: the host code of csrc/cuda/*.cu and bindings/cuda*.cpp, by nvcc. In place of
a GPU, the PTX of the same files runs on the execution model, translated by ptx/translator.py.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
import sysconfig
from importlib.machinery import ExtensionFileLoader
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

from cuda_model.builds import COMPILER, HERE, KERNELS, MODEL, NVCC, ROOT, TESTS, skip_without_nvcc, translation
from cuda_model.ptx.parser import parse
from rrm_core.backends.extension import INTERFACE

FLAGS = ["-std=c++20", "-fPIC", "-Wall", "-Wextra", "-Werror"]
HIDDEN = "-fvisibility=hidden"  # as in CMakeLists.txt and pybind11
OLDEST = "-arch=compute_75"  # the lowest architecture of nvcc 13
ORDERS = {"late": 0, "random": 1, "eager": 2}
ERRORS = {"cudaErrorInsufficientDriver": 35, "cudaErrorNoDevice": 100, "cudaErrorLaunchFailure": 719}

LIBRARY = "libstand_in_cudart.so"
MODULE = f"_cuda{sysconfig.get_config_var('EXT_SUFFIX')}"

needs_nvcc = skip_without_nvcc("the CUDA backend, and its use of streams and memory, are not tested")


TABLE = """
#include <cstddef>
#include <vector>
struct TranslatedKernel { // as in stand_in_cudart.cpp
    const char *name;
    void (*run)(void **);
    std::vector<std::size_t> sizes;
};
extern const std::vector<TranslatedKernel> translated_kernels;
const std::vector<TranslatedKernel> translated_kernels = {
"""


# ---- Building
def _start(*command: object, cwd: Path | None = None) -> subprocess.Popen[str]:
    return subprocess.Popen([*map(str, command)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=cwd)


def _finish(*started: subprocess.Popen[str]) -> None:
    for process in started:
        output, _ = process.communicate(timeout=600)
        if process.returncode:
            raise RuntimeError(f"{' '.join(map(str, process.args))}\n{output}")


def _include_folders() -> list[str]:
    """Return the include options for the model, CUDA, Python and pybind11."""
    import pybind11

    dry = subprocess.run(["nvcc", "--dryrun", "-c", "-x", "cu", os.devnull], capture_output=True, text=True, check=True)
    (line,) = (line for line in dry.stderr.splitlines() if line.startswith("#$ INCLUDES="))
    cuda = line.split('"')[1].removeprefix("-I")
    return [
        f"-I{HERE}",
        *(f"-isystem{folder}" for folder in (cuda, sysconfig.get_path("include"), pybind11.get_include())),
    ]


def _table(*files: Path) -> str:
    """Return the C++ table of the kernels in PTX files."""
    entries = [function for file in files for function in parse(file.read_text()).functions if function.is_entry]
    declared = [f'extern "C" void ptx_{entry.name}(void **);' for entry in entries]
    rows = [
        f'    {{"{entry.name}", ptx_{entry.name}, {{{", ".join(str(p.size) for p in entry.parameters)}}}}},'
        for entry in entries
    ]
    return "\n".join([*declared, TABLE, *rows, "};", ""])


def build(folder: Path, root: Path = ROOT) -> None:
    """Build the stand-in, and the extension module linked to it, in a folder."""
    include = _include_folders()
    sources = {name: root / "csrc" / "cuda" / f"{name}.cu" for name in KERNELS}
    bindings = [path.stem for path in (root / "bindings").glob("cuda*.cpp")]

    def ptx(name: str) -> Path:
        return folder / f"{name}.ptx"

    def translated(name: str) -> Path:
        return folder / f"{name}_ptx.cpp"

    def compiled(name: str, *options: object) -> subprocess.Popen[str]:
        return _start(COMPILER, *FLAGS, *options, "-c", "-o", folder / f"{name}.o")

    host = ["-Xcompiler", f"-fPIC,{HIDDEN}"]
    for name, source in sources.items():
        making_ptx = _start(*NVCC, OLDEST, "-ptx", source, "-o", ptx(name))
        host_code = _start(*NVCC, OLDEST, *host, "-c", source, "-o", folder / f"{name}.o")
        _finish(making_ptx)
        _finish(host_code, _start(*translation(ptx(name), translated(name)), cwd=TESTS))
    (folder / "table.cpp").write_text(_table(*map(ptx, KERNELS)))
    exact = ["-ffp-contract=off", "-fno-math-errno"]
    interface = f"-DRRM_INTERFACE={INTERFACE}"
    _finish(
        *(compiled(f"{name}_ptx", "-O1", *exact, *include, translated(name)) for name in KERNELS),
        compiled("machine", "-O2", *include, MODEL / "machine.cpp"),
        compiled("stand_in", "-O1", *include, HERE / "cudart" / "stand_in_cudart.cpp"),
        compiled("table", *include, folder / "table.cpp"),
        *(compiled(name, "-O1", HIDDEN, interface, *include, root / "bindings" / f"{name}.cpp") for name in bindings),
    )
    runtime = ["machine", "stand_in", "table", *(f"{name}_ptx" for name in KERNELS)]
    exported = folder / "exported"
    exported.write_text("{ global: cuda*; __cuda*; stand_in_*; local: *; };")
    linking = [f"-Wl,{option}" for option in ("--wrap=_Exit", f"--version-script={exported}", f"-soname,{LIBRARY}")]
    objects = [folder / f"{name}.o" for name in runtime]
    _finish(_start(COMPILER, "-shared", *objects, *linking, "-ldl", "-o", folder / LIBRARY))
    objects = [*(folder / f"{name}.o" for name in (*bindings, *KERNELS)), folder / LIBRARY]
    _finish(_start(COMPILER, "-shared", *objects, "-Wl,-rpath,$ORIGIN", "-o", folder / MODULE))


# ---- Interface
class Entry(NamedTuple):
    """A call of the module, as logged by the stand-in."""

    what: str  # "launch", "copy", "set", "wait", "synchronize", "allocate" or "device"
    device: int
    more: tuple[str, ...]

    @property
    def stream(self) -> int:
        return int(self.more[0])

    @property
    def producer(self) -> int:
        """The stream whose event `stream` waits for."""
        assert self.what == "wait"
        return int(self.more[1])

    @property
    def kernel(self) -> str:
        assert self.what == "launch"
        return self.more[1]


class StandIn:
    """The stand-in built in a folder, and its module."""

    def __init__(self, folder: Path):
        # pybind11 identifies modules by name, and the installed one may be loaded already.
        name = "cuda_model._cuda"
        loader = ExtensionFileLoader(name, str(folder / MODULE))
        spec = spec_from_file_location(name, folder / MODULE, loader=loader)
        assert spec is not None
        self.module: ModuleType = module_from_spec(spec)
        loader.exec_module(self.module)
        self.tuning = self.module.tuning()
        library = ctypes.CDLL(str(folder / LIBRARY))
        c_int, size, address = ctypes.c_int, ctypes.c_size_t, ctypes.c_size_t
        stride = ctypes.c_int64
        for name, result, arguments in (
            ("reset", None, [c_int, c_int, c_int, ctypes.c_uint64]),
            ("set_capability", None, [c_int]),
            ("lost", ctypes.c_char_p, []),
            ("log", ctypes.c_char_p, []),
            ("clear_log", None, []),
            ("bytes_read", ctypes.c_uint64, [ctypes.c_char_p]),
            ("current_device", c_int, []),
            ("set_current_device", None, [c_int]),
            ("fail", None, [ctypes.c_char_p, c_int, c_int]),
            ("assume_device", None, [c_int]),
            ("create_stream", address, [c_int, c_int]),
            ("allocate", address, [c_int, address, size, c_int]),
            ("protect", None, [address]),
            ("free", None, [c_int, address, address]),
            ("order", None, [c_int, address, address]),
            ("copy", None, [c_int, address, address, stride, address, stride, size, stride, c_int]),
            ("finish", None, [c_int, address]),
            ("finish_all", None, []),
        ):
            function = getattr(library, f"stand_in_{name}")
            function.restype, function.argtypes = result, arguments
            setattr(self, f"call_{name}", function)

    def reset(self, *, devices: int = 2, driver: str | None = None, order: str = "late", seed: int = 1) -> None:
        """Reset memory, streams and tuning."""
        self.module.tune(self.tuning)
        self.call_reset(devices, ERRORS[driver] if driver else 0, ORDERS[order], seed)

    def tune(self, **values: int) -> None:
        self.module.tune(self.tuning | values)

    @property
    def lost(self) -> str:
        """The reason if the device is lost, because of undefined behaviour of a kernel; otherwise empty."""
        return self.call_lost().decode()

    def log(self) -> list[Entry]:
        """Return the calls of the module since the last call of log()."""
        lines = self.call_log().decode().splitlines()
        self.call_clear_log()
        fields = (line.split("\t") for line in lines)
        return [Entry(what, int(device), tuple(more)) for what, device, *more in fields]

    def fail(self, call: str, nth: int = 1, error: str = "cudaErrorLaunchFailure") -> None:
        """Make the `nth` call of that name from now on fail."""
        self.call_fail(call.encode(), nth, ERRORS[error])
