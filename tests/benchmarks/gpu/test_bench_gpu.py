"""The benchmark for a GPU, without one: on the stand-in, its rivals on the CPU, and what is rendered of it."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from benchmarks.common.losses import Losses
from benchmarks.gpu.cells import MISLEADING, RULES, TIES, Cell
from benchmarks.gpu.contenders import Job, Reweight
from benchmarks.gpu.devices import TorchDevice, kernel_name
from benchmarks.gpu.rivals import RIVALS, TorchRival
from benchmarks.pages import gpu_tables
from cuda_model.cudart.stand_in import needs_nvcc

ROOT = Path(__file__).parents[3]
RECORD = ROOT / "benchmarks" / "results" / "gpu.json"


def bench_gpu(*options):
    return subprocess.run(
        [sys.executable, "-m", "benchmarks.gpu.bench_gpu", *map(str, options)],
        cwd=ROOT,
        env=os.environ | {"CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        check=False,
    )


def test_exits_without_a_device():
    run = bench_gpu()
    assert run.returncode == 2
    (line,) = run.stderr.splitlines()
    assert line.startswith("bench_gpu.py: no GPU: ")
    assert "--stand-in" in line


def test_stand_in_rejects_the_record_of_a_gpu():
    run = bench_gpu("--stand-in", "--record", RECORD)
    assert run.returncode == 2
    assert "is for a run on a GPU" in run.stderr


@needs_nvcc
def test_runs_on_the_stand_in(stand_in_folder, tmp_path):
    n = 30_000
    options = ("--build", stand_in_folder, "--sizes", 500, 5000, "--conditions", n, "--record", tmp_path / "run.json")
    run = bench_gpu("--stand-in", *options)
    assert run.returncode == 0, run.stdout + run.stderr
    record = json.loads((tmp_path / "run.json").read_text())
    assert (record["is_gpu"], record["device"]) == (False, "stand-in (a model on the CPU)")
    for cell in record["cells"]:
        assert not [name for name, row in cell["ms"].items() if "out" in row], cell
    first, large, *_ = record["cells"]
    assert {gpu_tables.OURS, gpu_tables.GRAPH, gpu_tables.PINNED, gpu_tables.ARRAY_API} < first["ms"].keys()
    assert [sum(row["launches"] for row in cell["kernels"].values()) for cell in (first, large)] == [3, 6]
    # Three digits, and all losses are read for each; a sample that tells the truth saves that.
    passes = {
        cell["distribution"]: cell["kernels"]["radix_pass"]["bytes read"] / (4 * n)
        for cell in record["cells"]
        if (cell["n"], cell["format"], cell["rule"]) == (n, "float32", "contamination 0.2")
    }
    assert passes["sorted"] < 3 <= passes[MISLEADING]
    with pytest.raises(SystemExit, match="says nothing about a GPU"):
        gpu_tables.gpu(record)


class TorchOnCpu(TorchDevice):
    cache_bytes = 1

    def __init__(self):
        self.torch = torch
        self.device = torch.device("cpu")

    def put(self, values):
        return super().put(values).clone()  # a copy, as on a GPU


@pytest.mark.parametrize("mu", [0.3, 1.0])
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize(
    ("format", "distribution"),
    [("float32", "exponential"), ("float32", TIES), ("bfloat16", "exponential"), ("float64", "exponential")],
)
def test_rivals_compute_the_expected_weights(format, distribution, rule, mu):
    cell = Cell(Losses(5000, distribution, format), mu=mu, rule=rule)
    job = Job(cell, TorchOnCpu(), cell.draw())
    for name, kind in {"ours": Reweight, **RIVALS}.items():
        if not name.startswith("cupy") and (name, format) != ("torch.quantile", "bfloat16"):
            kind(job).check()


def test_check_rejects_wrong_weights():
    class Late(TorchRival):
        def select(self, losses, rank):
            return super().select(losses, rank + 1)

    cell = Cell(Losses(5000))
    with pytest.raises(AssertionError, match="weights are wrong"):
        Late(Job(cell, TorchOnCpu(), cell.draw())).check()


def test_floor_in_bytes():
    for format, floors in {"float16": (12, 8), "float32": (16, 12), "float64": (32, 24)}.items():
        assert tuple(Cell(Losses(9, format=format), mu=mu).floor for mu in (0.3, 1.0)) == floors


def test_kernel_name():
    mangled = "_ZN3rrm4cuda11scan_lossesINS_6FormatIjfLi24ELi127EEELi2EEEvNS0_12KernelParamsIT_EE"
    demangled = "void rrm::cuda::scan_losses<rrm::Format<unsigned int>, 2>(rrm::cuda::KernelParams<T1>)"
    assert kernel_name(mangled) == "scan_losses"
    assert kernel_name(demangled) == "scan_losses"
    assert kernel_name("void at::native::elementwise_kernel<4>()") is None


def test_break_even_interpolates_logarithms():
    ours = {10**3: 20.0, 10**5: 20.0, 10**7: 20.0}
    assert gpu_tables.break_even(ours, {10**3: 10.0, 10**5: 40.0, 10**7: 4000.0}) == pytest.approx(10**4)
    assert gpu_tables.break_even(ours, {10**3: 30.0, 10**5: 10.0, 10**7: 40.0}) == pytest.approx(10**6)
    assert gpu_tables.break_even(ours, {10**3: 21.0, 10**5: 22.0}) == 0
    assert gpu_tables.break_even(ours, {10**3: 30.0, 10**5: 19.0}) == math.inf
    assert gpu_tables.break_even(ours, {}) == math.inf


def made_up():
    """Return a record as bench_gpu.py writes it."""

    def ms(**medians):
        names = {
            "copy": gpu_tables.FLOOR,
            "ours": gpu_tables.OURS,
            "answered": gpu_tables.ANSWERED,
            "host": gpu_tables.PAGEABLE,
        }
        rows = {names.get(name, name): {"median": m, "quartile1": 0.99 * m, "quartile3": 1.01 * m, "samples": 9}
                for name, m in medians.items()}  # fmt: skip
        return rows | {"torch.quantile": {"out": "RuntimeError: too large"}}

    what = {"distribution": "exponential", "format": "float32", "mu": 0.3, "rule": "contamination 0.2", "floor": 16}
    kernels = {"sample_brackets": 1, "scan_losses": 1, "radix_pass": 3, "write_weights": 1}
    kernels = {name: {"launches": launches} for name, launches in kernels.items()}
    told = {"kernels": kernels, "larger than the cache": True}
    small = ms(copy=0.01, ours=0.02, answered=0.03, host=0.015, sort=0.1)
    large = ms(copy=0.5, ours=0.6, answered=0.65, host=65.0, sort=3.0)
    return {
        "is_gpu": True,
        "cells": [
            {**what, "n": 10**6, "host": True, **told, "ms": small, "larger than the cache": False},
            {**what, "n": 10**8, "host": True, **told, "ms": large},
            {**what, "n": 10**9, "host": True, "skipped": "takes 40.0 GB on the device, 9.0 GB are free"},
            {**what, "n": 10**8, "host": False, "rule": "gamma 1.6", **told, "ms": large},
        ],
    }


def test_renders_a_gpu_record():
    lines = gpu_tables.gpu(made_up()).splitlines()
    for line in (
        "| float32, mu = 0.3 | 10⁶ | 10⁸ |",
        "| on the device | 20 µs | 600 µs |",
        "| … in memory floors | 2.00 | 1.20 |",
        "| the floor's rate | 1.60 TB/s | 3.20 TB/s |",
        "| the call, with its answer | 30 µs | 650 µs |",
        "| `sort` | 5.0x | 5.0x |",
        "| `torch.quantile` | – | – |",
        "| by way of the host | 0.5x | 100x |",
        "| 10⁸ float32, exponential, gamma 1.6, mu = 0.3 | 600 µs | 1.20 | 16 | 6 | 5.0x (`sort`) |",
        "| 10⁸: at most 1.25 memory floors | 1.20 |",
        "| 10⁶: at most 25 µs on the device | 20.0 |",
        "Against by way of the host: faster from about 1,800,000 samples on.",
        "Left out: 10⁹ float32: takes 40.0 GB on the device, 9.0 GB are free.",
    ):
        assert line in lines, line


def test_page_without_a_gpu_record(monkeypatch, tmp_path):
    from benchmarks.pages import render

    monkeypatch.setattr(render, "ROOT", tmp_path)
    assert render.gpu() == "Not recorded yet."
    assert render.gpu_costs() == "Not recorded yet."
    folder = tmp_path / "benchmarks" / "results"
    folder.mkdir(parents=True)
    (folder / "gpu.json").write_text(json.dumps(made_up() | {"is_gpu": False}))
    with pytest.raises(SystemExit, match="isn't rendered"):
        render.gpu()
    origin = {
        "machine": {"processor": "P", "cores": 2},
        "versions": {"torch": "2"},
        "commit": "c" * 40,
        "date": "today",
    }
    device = {"device": "D", "gpu": {"driver_version": "9"}}
    (folder / "gpu.json").write_text(json.dumps(made_up() | origin | device))
    assert render.gpu().endswith("\n\nD, driver 9; P, 2 cores; torch 2; commit cccccccccc, today.")


def test_renders_costs():
    kernels = {"survey": {"read": 500, "written": 100}, "write": {"read": 800, "written": 400}}
    case = {"format": "float32", "n": 100, "rule": "gamma 1.6", "launches": 6, "workspace": 2_000_000}
    case |= {"bytes a sample": 18.0, "floors": 1.125, "kernels": kernels}
    assert gpu_tables.costs({"what": "Counted", "cases": [case]}).splitlines() == [
        "|  | launches | workspace | bytes a sample | in floors | scan | write |",
        "|---|---:|---:|---:|---:|---:|---:|",
        "| float32, 10², gamma 1.6 | 6 | 2.0 MB | 18.00 | 1.125 | 6.00 | 12.00 |",
        "",
        "Counted.",
    ]
