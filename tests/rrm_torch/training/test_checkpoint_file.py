"""Damaged and forged checkpoints: a ValueError, and nothing changes."""

from __future__ import annotations

import io
import os
import random
import resource
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from fuzz import damaged_checkpoints
from fuzz.damaged_checkpoints import seal, seal_archive
from rrm_torch import Checkpoint
from support.run_state import digest, make_checkpoint


@pytest.fixture
def saved(tmp_path):
    """Return the path of a checkpoint, and another run's checkpoint at that path."""
    path = tmp_path / "run.pt"
    make_checkpoint(path, seed=1, steps=4).save(4)
    return path, make_checkpoint(path)


def test_every_flipped_bit_is_detected(saved):
    path, checkpoint = saved
    data = path.read_bytes()
    before = digest(checkpoint.objects)
    generator = random.Random(0)
    places = [*range(40), *range(len(data) - 160, len(data)), *(generator.randrange(len(data)) for _ in range(150))]
    for place in places:
        changed = bytearray(data)
        changed[place] ^= 1 << generator.randrange(8)
        path.write_bytes(changed)
        with pytest.raises(ValueError, match=r"run\.pt' isn't a checkpoint \(it.*\); remove it to start afresh"):
            checkpoint.load()
    assert digest(checkpoint.objects) == before


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("optimizer", lambda state: state["param_groups"][0].update(lr="x"), "lr is a str in param_groups"),
        ("optimizer", lambda state: state["state"][0].update(exp_avg=torch.zeros(3)), "exp_avg of parameter 0 must"),
        ("scheduler", lambda state: state.update(step=1), "the state has step, which StepLR does not have"),
        ("scheduler", lambda state: state.update(last_epoch="x"), "last_epoch is a str in the state"),
        ("model", lambda state: state.update({"0.weight": state["0.weight"].double()}), "0.weight is torch.float64"),
        ("history", lambda state: state["epochs"][0].update(loss="x"), "loss must be a number"),
        ("elr", lambda state: state["targets"].sub_(1), r"targets must lie in \[0, 1\]"),
    ],
)
def test_state_that_torch_or_the_object_would_take_is_refused(saved, name, change, message):
    path, checkpoint = saved
    content = torch.load(path, weights_only=True)
    change(content["parts"][name])
    path.write_bytes(seal(content))
    before = digest(checkpoint.objects)
    with pytest.raises(ValueError, match=rf"{name} of checkpoint .* doesn't match: .*{message}"):
        checkpoint.load()
    assert digest(checkpoint.objects) == before


def test_damaged_and_forged_files_raise_value_error_and_change_nothing():
    outcomes = damaged_checkpoints.run(160, seed=1)
    assert outcomes["damaged, refused"] == 160
    assert outcomes["forged, refused"] > 0


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *[("epoch", value) for value in (2**80, 2**60, -1, True, 3.0, "3", None, torch.tensor(3))],
        *[("parts", value) for value in ([], None, {}, {"model": {}}, 3)],
        *[("random", value) for value in ([], None, {}, {"torch": 1})],
        *[("others", value) for value in ({}, None, [1], [{}], "x")],
    ],
)
def test_load_rejects_forged_entries(saved, name, value):
    path, checkpoint = saved
    before = digest(checkpoint.objects)
    path.write_bytes(seal(torch.load(path, weights_only=True) | {name: value}))
    with pytest.raises(ValueError, match=r"run\.pt'"):
        checkpoint.load()
    assert digest(checkpoint.objects) == before


@pytest.mark.parametrize("name", ["epoch", "parts", "random", "others"])
def test_load_rejects_missing_entries(saved, name):
    path, checkpoint = saved
    content = torch.load(path, weights_only=True)
    del content[name]
    path.write_bytes(seal(content))
    with pytest.raises(ValueError, match=f"its entry '{name}' is a NoneType"):
        checkpoint.load()


def nested(depth):
    value = []
    for _ in range(depth):
        value = [value]
    return value


def repeated(depth):
    value = []
    for _ in range(depth):
        value = [value, value]
    return value


def circular():
    value = []
    value.append(value)
    return value


def pickle_of(content):
    return zipfile.ZipFile(io.BytesIO(seal(content))).read("archive/data.pkl")


def rezipped(content, change, compression=zipfile.ZIP_STORED):
    """Return a file with a right digest, of which `change` has changed the pickle."""
    source = zipfile.ZipFile(io.BytesIO(seal(content)))
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive:
        for name in source.namelist():
            data = source.read(name)
            archive.writestr(name, change(data) if name.endswith("data.pkl") else data)
    return seal_archive(file.getvalue())


# bytearray(2 ** 45), by a pickle of protocol 2.
BYTEARRAY = b"\x80\x02cbuiltins\nbytearray\n\x8a\x06\x00\x00\x00\x00\x00\x20\x85R."


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (lambda: rezipped({"zeros": torch.zeros(1 << 22)}, bytes, zipfile.ZIP_DEFLATED), "archive is compressed"),
        (lambda: rezipped({}, lambda _: BYTEARRAY), ""),
        (lambda: rezipped({"a": torch.zeros(1000)}, lambda data: data.replace(b"M\xe8\x03", b"M\xff\xff")), ""),
        (lambda: rezipped({}, lambda data: data[:-1]), ""),
        (lambda: rezipped({}, lambda _: b""), ""),
        (
            lambda: rezipped({}, lambda _: b"\x80\x02cos\nsystem\nX\x04\x00\x00\x00true\x85R."),
            "Weights only load failed",
        ),
        (lambda: seal({"bomb": repeated(60)}), "its containers occur in one another"),
        (lambda: seal({"bomb": torch.zeros(1).expand(10**12)}), "is expanded from fewer elements"),
        (lambda: seal(circular()), "its containers occur in one another"),
        (lambda: seal({"deep": nested(200)}), "its entry 'epoch'"),
    ],
)
def test_load_rejects_bombs(tmp_path, data, message):
    path = tmp_path / "run.pt"
    path.write_bytes(data())
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ValueError, match=rf"run\.pt' isn't a checkpoint \(.*{message}.*\); remove it to start afresh"):
        Checkpoint(path, model=torch.nn.Linear(2, 2)).load()
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000  # KiB


def test_file_is_a_zip_archive_whose_comment_has_its_digest(saved):
    path, _ = saved
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        assert archive.comment.startswith(b"rrm_torch checkpoint; SHA-256")
    assert subprocess.run([sys.executable, "-m", "zipfile", "-t", path], check=False).returncode == 0


def test_save_rejects_state_that_load_would(tmp_path):
    checkpoint = Checkpoint(tmp_path / "run.pt", model=torch.nn.Linear(2, 2))
    checkpoint.objects["model"].register_buffer("mask", torch.zeros(1).expand(1 << 25))
    with pytest.raises(TypeError, match=r"the state of model must .* is expanded from fewer elements"):
        checkpoint.save(1)


def test_full_disk_is_an_os_error(tmp_path):
    path = tmp_path / "run.pt"
    checkpoint = Checkpoint(path, model=torch.nn.Linear(300, 300))
    checkpoint.save(1)
    old = path.read_bytes()
    program = (
        "import resource, signal, sys, torch\n"
        "from rrm_torch import Checkpoint\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "checkpoint = Checkpoint(sys.argv[1], model=torch.nn.Linear(300, 300))\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n"
        "try:\n    checkpoint.save(2)\n"
        "except OSError as error:\n    print(error)\n"
    )
    run = subprocess.run([sys.executable, "-c", program, path], capture_output=True, text=True, check=True)
    assert "File too large" in run.stdout
    assert path.read_bytes() == old


@pytest.mark.parametrize("epoch", [-1, 2**80])
def test_save_rejects_epoch_out_of_range(saved, epoch):
    path, checkpoint = saved
    old = path.read_bytes()
    with pytest.raises(ValueError, match=r"epoch must lie in \[0, 2\*\*53\)"):
        checkpoint.save(epoch)
    with pytest.raises(TypeError):
        checkpoint.save(1.5)
    assert path.read_bytes() == old
    checkpoint.save(np.int64(2))
    assert checkpoint.load() == 2


def test_path_need_not_be_utf8(tmp_path):
    path = os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.pt")
    checkpoint = make_checkpoint(path)
    checkpoint.save(3)
    assert checkpoint.load() == 3
    with Path(path).open("ab") as file:
        file.write(b"x")
    with pytest.raises(ValueError, match=r"caf\\udce9\.pt' isn't a checkpoint") as caught:
        checkpoint.load()
    str(caught.value).encode()


@pytest.mark.skipif(not hasattr(torch.serialization, "set_crc32_options"), reason="torch has no such option")
def test_save_without_crc(saved):
    _, checkpoint = saved
    torch.serialization.set_crc32_options(False)
    try:
        checkpoint.save(2)
    finally:
        torch.serialization.set_crc32_options(True)
    assert checkpoint.load() == 2
