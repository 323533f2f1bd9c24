"""Every method of every experiment, in small: a few hundred digits, a few epochs."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from experiments import registry
from experiments.runner.jobs import Job
from rrm_torch.data.images import load_digits

NAMES = list(registry.EXPERIMENTS)
OWN_TESTS = ("linear-probe",)  # it needs the parameters of a network
EPOCHS = 8
N_GREY, N_COLOUR = 300, 60  # training samples; the network for colour images takes most of the time
RESULTS = Path(__file__).parents[2] / "benchmarks" / "results"


def recorded_as(name):
    return f"experiment_{name.replace('-', '_')}.json"


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Return a folder with files of the real ones' names: digits, drawn as large as MNIST's, or as coloured JPEG."""
    folder, digits = tmp_path_factory.mktemp("data"), load_digits()
    parts = {"train": (digits.x_train, digits.y_train), "test": (digits.x_test, digits.y_test)}
    grey, colour, rng = {}, {"classes": np.array(list("0123456789"))}, np.random.default_rng(0)
    for part, (x, y) in parts.items():
        small = ((x[:, 0].numpy() - digits.black) / (digits.white - digits.black) * 255).round().astype(np.uint8)
        large = np.pad(small.repeat(3, axis=1).repeat(3, axis=2), ((0, 0), (2, 2), (2, 2)))
        grey |= {f"x_{part}": large, f"y_{part}": y.numpy()}
        n = len(y) if part == "train" else N_COLOUR
        streams = [jpeg(np.pad(picture, 2)) for picture in large[:n]]
        colour |= {
            f"jpg_{part}": np.frombuffer(b"".join(streams), np.uint8),
            f"off_{part}": np.cumsum([0, *map(len, streams)]),
            f"y_{part}": y.numpy()[:n],
        }
    for name in ("mnist.npz", "fashion_mnist.npz"):
        np.savez(folder / name, **grey)
    np.savez(folder / "cifar10_jpegq75.npz", **colour)
    clean = digits.y_train.numpy()
    wrong = np.where(rng.random(len(clean)) < 0.3, (clean + 1) % 10, clean)
    names = ("aggre_label", "worse_label", "random_label1", "random_label2", "random_label3")
    np.savez(folder / "cifar10n_labels.npz", clean_label=clean, **dict.fromkeys(names, wrong))
    return folder


def jpeg(grey):
    file = io.BytesIO()
    Image.fromarray(np.stack([grey] * 3, axis=-1)).save(file, format="jpeg", quality=90)
    return file.getvalue()


def smaller(job):
    """Return a job of the same method that takes a second at most."""
    settings = json.loads(json.dumps(job.settings))
    settings["samples"] = N_COLOUR if "labels" in settings else N_GREY
    settings["recipe"] |= {"epochs": EPOCHS, "batch_size": settings["samples"] // 6}
    # One method in bfloat16: it takes several times as long on a processor that lacks instructions for it.
    if job.method != "CCE":
        settings["recipe"]["autocast"] = False
    if settings.get("rrm"):
        settings["rrm"] |= {"warmup": min(settings["rrm"]["warmup"], 3), "every": 1, "weight_limit": 1e9}
    return Job(job.method, settings, job.seed)


def methods():
    return [
        pytest.param(name, smaller(run), id=f"{name}: {run.method} {run.settings.get('labels', '')}")
        for name in NAMES
        if name not in OWN_TESTS
        for run in registry.load(name).jobs(1)
        if run.settings.get("noise") in (None, 0.2, 0.3) and run.settings.get("labels") in (None, "worst")
    ]


@pytest.mark.parametrize("name", NAMES)
def test_jobs_are_unique_and_json(name):
    runs = registry.load(name).jobs(3)
    assert len({run.key for run in runs}) == len(runs)
    assert {run.seed for run in runs} >= {0, 1, 2}
    assert json.loads(json.dumps([run.settings for run in runs])) == [run.settings for run in runs]


@pytest.mark.parametrize(("name", "run"), methods())
def test_method_with_few_samples(name, run, data, tmp_path):
    epochs = []
    checkpoint = tmp_path / "run.pt"

    def after(done, total):
        assert checkpoint.exists()
        epochs.append((done, total))

    result = registry.load(name).execute(run, data, checkpoint, after)
    assert epochs == [(epoch, EPOCHS) for epoch in range(1, EPOCHS + 1)]
    assert json.loads(json.dumps(result, allow_nan=False)) == result
    assert len(result["epochs"]["accuracy"]) == EPOCHS
    assert result["accuracy"] == pytest.approx(result["epochs"]["accuracy"][-1], abs=1e-4)
    assert result["best_accuracy"] >= result["accuracy"]
    for share in ("memorised", "fitted"):
        assert 0 <= result[share] <= 1
    rrm = run.settings.get("rrm") or run.settings.get("co_teaching")
    assert ("rounds" in result) == bool(rrm)
    if rrm:
        assert sum(map(sum, result["histogram"].values())) == run.settings["samples"]
        assert result["rounds"]["epoch"][-1] in (EPOCHS, EPOCHS - 1)
    if "test_attacks" in run.settings:
        assert set(result["robust"]) == {"fgsm", "pgd"}
        assert list(result["robust"]["pgd"]) == ["0.0", "0.1", "0.2"]
        assert result["robust"]["pgd"]["0.0"] == pytest.approx(result["accuracy"])


def test_rrm_finds_wrong_labels(data, tmp_path):
    runs = {run.method: run for run in registry.load("mnist-table6").jobs(1)}
    execute = registry.load("mnist-table6").execute
    run = smaller(runs["RRM, contamination 0.2, kept"])
    run.settings["recipe"] |= {"epochs": 40, "lr": 0.2}
    run.settings["samples"] = 1000
    found = execute(run, data, tmp_path / "a.pt", lambda done, total: None)
    assert found["recall"] > 0.8
    assert found["epochs"]["wrong_pruned"][-1] == pytest.approx(found["recall"], abs=1e-4)


def test_job_resumes_from_its_checkpoint(data, tmp_path):
    runs = {run.method: smaller(run) for run in registry.load("cifar10n").jobs(1)}
    execute = registry.load("cifar10n").execute

    class StoppedError(Exception):
        pass

    def stop(done, total):
        if done == 5:
            raise StoppedError

    for method in ("RRM", "Co-teaching"):  # one network, and two
        whole = execute(runs[method], data, tmp_path / f"{method}-whole.pt", lambda done, total: None)
        with pytest.raises(StoppedError):
            execute(runs[method], data, tmp_path / f"{method}.pt", stop)
        resumed = execute(runs[method], data, tmp_path / f"{method}.pt", lambda done, total: None)
        for result in (whole, resumed):
            del result["seconds"]
        assert resumed == whole


# RRM says in warm-up already that losses are NaN.
@pytest.mark.filterwarnings("default:.*have a loss that is NaN.*No reweight is due yet:UserWarning")
@pytest.mark.parametrize("method", ["plain, augmentation none, scale mean", "argmin, augmentation none, scale mean"])
def test_divergence_is_a_result(data, tmp_path, method):
    ablation = registry.load("ablation")
    run = next(smaller(run) for run in ablation.jobs(1) if run.method == method)
    run.settings["recipe"]["lr"] = 1e6
    epochs = []
    result = ablation.execute(run, data, tmp_path / "run.pt", lambda done, total: epochs.append(done))
    assert epochs == list(range(1, EPOCHS + 1))
    assert result["diverged"]
    assert result["accuracy"] < 0.2
    assert result["epochs"]["loss"][-1] is None
    json.dumps(result, allow_nan=False)


@pytest.mark.parametrize("name", [name for name in NAMES if (RESULTS / recorded_as(name)).exists()])
def test_recorded_jobs_are_those_of_the_current_code(name):
    record = json.loads((RESULTS / recorded_as(name)).read_text())
    seeds = int(record["command"].rpartition("--seeds ")[2])
    there = [Job(run["method"], run["settings"], run["seed"]).key for run in record["runs"]]
    assert there == [job.key for job in registry.load(name).jobs(seeds)]
    assert seeds >= 3
    assert not [run["method"] for run in record["runs"] if "dirty" in run["commit"]]
