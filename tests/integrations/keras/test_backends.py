"""rrm_keras on each backend of Keras: the jobs of `keras_jobs`, which a process of its own runs on each."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

JOBS = Path(__file__).parents[2] / "support" / "keras_jobs.py"
BACKENDS = ("jax", "tensorflow", "torch")


@pytest.fixture(scope="module", params=BACKENDS)
def results(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    file = folder / "results.json"
    environment = {
        **os.environ,
        "KERAS_BACKEND": request.param,
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "OMP_NUM_THREADS": "1",
        # Most of the time of JAX is compilation, of the same programs for each model.
        "JAX_COMPILATION_CACHE_DIR": str(folder / "compiled"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
        "XLA_FLAGS": "--xla_backend_optimization_level=0",
    }
    subprocess.run([sys.executable, str(JOBS), str(file)], env=environment, check=True, timeout=600)
    return json.loads(file.read_text())


def test_each_job_ran_on_its_backend(results, request):
    assert results["backend"] == request.node.callspec.params["results"]
    errors = [job["error"] for job in results.values() if isinstance(job, dict) and isinstance(job.get("error"), str)]
    assert not errors, "\n".join(errors)


def test_auto_finds_wrong_labels(results):
    auto = results["auto"]
    assert 0.24 < auto["estimate"] < 0.38
    assert 3 <= auto["end"] <= 6
    assert auto["precision"] > 0.85
    assert auto["recall"] > 0.85


def test_a_warmup_holds_out_samples_whose_weight_is_1_afterwards(results):
    auto = results["auto"]
    assert 0.12 < auto["share_held_out"] < 0.18
    assert auto["is_first_weight_of_held_out_1"]


def test_mean_weight_is_1_after_each_epoch(results):
    assert results["auto"]["mean_weights"] == pytest.approx([1] * 20, abs=1e-6)


def test_mean_of_sample_losses_is_the_loss_of_keras(results):
    assert len(results["sample_losses"]) == 9
    for dtype, difference in results["sample_losses"]:
        assert dtype == "float32"
        assert difference < 1e-6


def test_unit_weights_give_the_loss_of_keras(results):
    assert max(results["unit_weights"]) < 1e-6


def test_a_resumed_run_ends_with_the_same_bits(results):
    assert [last for last, _, _ in results["resumed"]] == [1, 2, 3, 4, 5]
    assert [entry for entry in results["resumed"] if not entry[2]] == []


def test_weights_of_the_data_set_take_effect_on_each_backend(results):
    """An array that is changed in place does so on some backends only: TensorFlow has copied it."""
    assert results["changed_weights"] == {"array": results["backend"] != "tensorflow", "data set": True}


def test_validation_and_global_seeds_change_nothing(results):
    assert results["same_whatever_else"] == {
        "validation": True,
        "global seeds": True,
        "the callback's second run": True,
        "another seed": False,
    }


@pytest.mark.parametrize("kind", ["steps_per_epoch", "workers", "batches", "regression"])
def test_runs_of_other_kinds_prune_the_share(results, kind):
    n_pruned, n, mean_weight = results["kinds_of_runs"][kind]
    assert (n_pruned, n) == (50, 250)
    assert mean_weight == pytest.approx(1, abs=1e-6)


def test_losses_are_float32_in_mixed_precision(results):
    mixed = results["mixed_precision"]
    # TensorFlow and JAX return bfloat16, PyTorch has converted it for NumPy.
    assert mixed["outputs"] in ("bfloat16", "float32")
    assert mixed["losses"] == "float32"
    assert mixed["error"] < 1e-5
    assert mixed["is_plan_of_losses"]


def test_a_callback_whose_data_set_is_not_used_raises(results):
    assert "call model.fit(data, ...) with the RRMDataset" in results["not_the_data_set"]
