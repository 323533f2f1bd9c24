"""The execution model detects every planted bug, each compiled and run in a copy of the kernels."""

from __future__ import annotations

import re
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor

import pytest

from cuda_model.builds import CPP, MODES, ROOT, compile_all, harness, link
from cuda_model.planted_bugs import BUGS

CASES = {"plain": 1500, "thread": 100}


def copy_of_kernels(folder, only):
    shutil.copytree(ROOT / "csrc", folder / "csrc")
    source = folder / "csrc" / "cuda" / "reweight.cu"
    lines = source.read_text().splitlines(keepends=True)
    kept = [line for line in lines if not line.startswith("RRM_INSTANTIATE(") or f"({only})" in line]
    assert len(kept) == len(lines) - 3
    source.write_text("".join(kept))


def failure(folder, mode, only, objects, cases, bug=None):
    """Return the output of a run of random cases with a bug planted, or "" if it passes."""
    copy_of_kernels(folder, only)
    if bug is not None:
        file = folder / "csrc" / "cuda" / bug.file
        text = file.read_text()
        assert text.count(bug.original) == 1, f"{bug.name}: {bug.original!r} occurs {text.count(bug.original)} times"
        file.write_text(text.replace(bug.original, bug.mutated))
    flags = [*CPP, *MODES[mode][0], "-O1", "-g0", "-w"]  # without debug information a bug compiles a fifth faster
    compiled = compile_all((flags, folder / "csrc" / "cuda" / "reweight.cu", folder / "reweight.o"))
    command = link(folder / "program", mode, *compiled, *objects)
    environment = {"TSAN_OPTIONS": "halt_on_error=1", "PATH": "/usr/bin:/bin"}
    run = subprocess.run(
        [*command, str(cases), "1"], capture_output=True, text=True, check=False, timeout=300, env=environment
    )
    return "" if run.returncode == 0 else run.stdout + run.stderr


@pytest.fixture(scope="session")
def objects(tmp_path_factory):
    """Return the objects of the harness, by mode and format."""
    kinds = {(mode_of(bug), bug.format) for bug in BUGS}
    return {(mode, only): harness(tmp_path_factory.mktemp(mode), mode, f"-DRRM_ONLY={only}") for mode, only in kinds}


def mode_of(bug):
    return "thread" if bug.detected_by == "race" else "plain"


def test_every_planted_bug_is_detected(objects, tmp_path):
    def detection(bug):
        folder = tmp_path / f"{BUGS.index(bug)}"
        folder.mkdir()
        kind = mode_of(bug), bug.format
        output = failure(folder, *kind, objects[kind], CASES[kind[0]], bug)
        # A wrong result, a violation of CUDA's rules, or a race; a crash, for example, does not count as detected.
        expected = r"ThreadSanitizer: data race" if bug.detected_by == "race" else r"case \d+ differs|model of CUDA: "
        return bug.name, output if re.search(expected, output) else ""

    with ThreadPoolExecutor(2) as pool:
        outputs = dict(pool.map(detection, BUGS))
    assert len(outputs) == len(BUGS) >= 40
    assert not [name for name, output in outputs.items() if not output]


@pytest.mark.parametrize("kind", [("plain", "Float32"), ("plain", "BFloat16"), ("thread", "Float32")])
def test_kernels_without_a_planted_bug_pass(kind, objects, tmp_path):
    assert failure(tmp_path, *kind, objects[kind], CASES[kind[0]] // 4) == ""
