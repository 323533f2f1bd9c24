"""Batches as people have them: dicts, lists, named tuples, items of Hugging Face's data sets; and none too many."""

from __future__ import annotations

import math
from collections import UserDict, namedtuple

import pytest
import torch
from torch import nn
from torch.testing import assert_close
from torch.utils.data import BatchSampler, DataLoader, Dataset, SequentialSampler

from rrm_torch import RRM, Indexed, batches, evaluate, fit, predict, score
from rrm_torch.adversarial import FGSM, PGD, TRADES, robustness
from support.clouds import three_clouds
from support.torch_defaults import default_dtype

N = 40
K = 3
Inputs = namedtuple("Inputs", ["points", "mask"])


@pytest.fixture
def blobs():
    return three_clouds(N)


class Nested(nn.Module):
    """Takes what a batch holds, whatever its container."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.linear = nn.Linear(2, K)

    def forward(self, x):
        points, mask = (x["points"], x["mask"]) if isinstance(x, (dict, UserDict)) else x
        assert points.device == mask.device == self.linear.weight.device
        return self.linear(points * mask[:, None])


class Items(Dataset):
    """Items as in Hugging Face's data sets: dicts; and of a list of indices, a dict of tensors."""

    def __init__(self, x, y, key="labels"):
        self.columns = {"points": x, "mask": torch.ones(len(x), dtype=torch.int64), key: y}

    def __len__(self):
        return len(self.columns["points"])

    def __getitem__(self, index):
        return {name: column[index] for name, column in self.columns.items()}


def nested_loader(kind, x, y):
    def inputs(index):
        mask = torch.ones(len(index), dtype=torch.int64)
        if kind == "named tuple":
            return Inputs(x[index], mask)
        if kind in ("list", "tuple"):
            return {"list": list, "tuple": tuple}[kind]([x[index], mask])
        entries = {"points": x[index], "mask": mask}
        return UserDict(entries) if kind == "user dict" else entries

    return [(index, inputs(index), y[index]) for index in torch.arange(N).split(8)]


def dict_loader(kind, x, y):
    data = Indexed(Items(x, y, "label" if kind == "dict items, label" else "labels"))
    options = {"batch_size": 8}
    if kind == "dict batches":
        options = {"batch_size": None, "sampler": BatchSampler(SequentialSampler(data), 8, drop_last=False)}
    # Of its own, because a DataLoader draws a seed for its workers.
    return DataLoader(data, generator=torch.Generator(), **options)


KINDS = {
    **dict.fromkeys(["dict", "user dict", "list", "tuple", "named tuple"], nested_loader),
    **dict.fromkeys(["dict items", "dict items, label", "dict batches"], dict_loader),
}


def run(model, loader, **options):
    """Everything that takes a loader; return what it gives."""
    rrm = RRM(N, contamination=0.1, warmup=1)
    torch.manual_seed(1)
    fit(model, loader, torch.optim.SGD(model.parameters(), lr=0.1), 3, rrm=rrm, score_loader=loader, **options)
    found = [rrm.weights, rrm.losses, score(model, loader), predict(model, loader)]
    accuracies = [evaluate(model, loader), *robustness(model, loader, FGSM(0.1), [0, 0.5]).values()]
    return [*found, torch.tensor(accuracies), *model.parameters()]


OPTIONS = {
    "plain": {},
    "fgsm": {"attack": FGSM(0.1, weighted=True)},
    "pgd": {"attack": PGD(0.1, steps=2, random_start=False)},
    "trades": {"loss": TRADES(PGD(0.1, steps=2))},
}


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
@pytest.mark.parametrize("kind", KINDS)
def test_nested_batches_equal_batches_of_tensors(blobs, kind, options):
    expected = run(_OfPoints(Nested()), batches(*blobs, 8, shuffle=False), **options)
    actual = run(Nested(), KINDS[kind](kind, *blobs), **options)
    assert_close(actual, expected, rtol=0, atol=0)


class _OfPoints(nn.Module):
    """The same model for inputs that are a tensor."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, x):
        return self.model((x, torch.ones(len(x), dtype=torch.int64)))


@pytest.mark.parametrize("attack", [FGSM(0.1), FGSM(0), PGD(0.1), TRADES(PGD(0.1)).perturb], ids=repr)
@pytest.mark.parametrize(
    ("x", "message"),
    [
        ({"ids": torch.zeros(3).long()}, "got 0 in dict"),
        ([torch.zeros(3, 2), torch.zeros(3, 2)], "got 2 in list"),
        (torch.zeros(3, 2).long(), r"x must be floating-point, got torch.int64"),
        (torch.zeros(3, 2, dtype=torch.complex64), r"x must be floating-point, got torch.complex64"),
        ("text", "got 0 in str"),
    ],
)
def test_attacks_reject_inputs_without_one_tensor_to_attack(attack, x, message):
    arguments = (torch.zeros(3).long(),) if isinstance(attack, FGSM | PGD) else ()
    with pytest.raises(TypeError, match=message):
        attack(Nested(), x, *arguments)


def test_attack_leaves_the_batch_unchanged(blobs):
    x, y = blobs
    inputs = {"points": x, "mask": torch.ones(N).long(), "name": "clouds"}
    attacked = FGSM(0.1)(Nested(), inputs, y)
    assert inputs["points"] is x
    assert attacked["mask"] is inputs["mask"]
    assert attacked["name"] == "clouds"
    assert ((attacked["points"] - x).abs() - 0.1).abs().max() < 1e-5


def test_attack_of_nested_inputs_in_inference_mode(blobs):
    x, y = blobs
    model = Nested()
    with torch.inference_mode():
        attacked = FGSM(0.1)(model, {"points": x.clone(), "mask": torch.ones(N).long()}, y.clone())
    expected = FGSM(0.1)(model, {"points": x, "mask": torch.ones(N).long()}, y)
    assert_close(attacked["points"], expected["points"], rtol=0, atol=0)


# Outputs and labels that don't fit


ONE_LOGIT = nn.Linear(2, 1)
CALLS = {
    "evaluate": evaluate,
    "robustness": lambda model, loader: robustness(model, loader, FGSM(0.1), [0, 0.1]),
    "score": score,
    "predict": predict,
    "fit": lambda model, loader: fit(model, loader, torch.optim.SGD(model.parameters(), 0.1), 1),
}
every_call = pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)


@every_call
def test_rejects_a_single_logit(blobs, call):
    x, y = blobs
    with pytest.raises(ValueError, match=r"at least 2 classes, got shape \(40, 1\)"):
        call(nn.Linear(2, 1), [(torch.arange(N), x, y % 2)])


@every_call
def test_rejects_outputs_by_pixel(call):
    x, y = torch.randn(4, 1, 5, 5), torch.randint(0, 3, (4, 5, 5))
    with pytest.raises(ValueError, match=r"outputs must have shape \(batch, n_classes\), got \(4, 3, 5, 5\)"):
        call(nn.Conv2d(1, 3, 1), [(torch.arange(4), x, y)])


@pytest.mark.parametrize("call", [call for name, call in CALLS.items() if name != "predict"])
@pytest.mark.parametrize(
    ("labels", "error", "message"),
    [
        (lambda y: y[:, None], ValueError, r"y\[:, 0\]"),
        (lambda y: y[:20], ValueError, r"y must have shape \(40,\).* got \(20,\)"),
        (lambda y: y[0], ValueError, r"y must have shape \(40,\).* got \(\)"),
        (lambda y: y.float(), (TypeError, ValueError), r"y\.long\(\)"),
        (lambda y: y == 0, TypeError, r"got torch\.bool; convert with y\.long\(\)"),
        (lambda y: y + 1, IndexError, r"\[0, 3\), .* got 3"),
        (lambda y: y - 1, IndexError, r"\[0, 3\), .* got -1"),
        (lambda y: y.tolist(), TypeError, "y must be a tensor, got list"),
    ],
    ids=["column", "half", "scalar", "float", "bool", "from 1", "from -1", "list"],
)
def test_rejects_labels_that_do_not_fit(blobs, call, labels, error, message):
    x, y = blobs
    with pytest.raises(error, match=message):
        call(nn.Linear(2, K), [(torch.arange(N), x, labels(y))])


@pytest.mark.parametrize("call", [evaluate, CALLS["robustness"]])
def test_accuracy_rejects_soft_labels(blobs, call):
    x, y = blobs
    with pytest.raises(TypeError, match=r"integer classes, got torch\.float32; .*y\.argmax\(1\)"):
        call(nn.Linear(2, K), [(x, torch.eye(K)[y])])


@every_call
def test_rejects_outputs_without_logits(blobs, call):
    class Named(nn.Linear):
        def forward(self, x):
            return {"logits": super().forward(x)}

    x, y = blobs
    with pytest.raises(TypeError, match="outputs must be a tensor, got dict"):
        call(Named(2, K), [(torch.arange(N), x, y)])


def test_predict_rejects_outputs_of_another_length(blobs):
    x, y = blobs
    with pytest.raises(ValueError, match="one row of logits per sample, for 40 indices, got 20"):
        predict(nn.Identity(), [(torch.arange(N), x[:20], y)])


TRAINING = {
    "fit": CALLS["fit"],
    "score": score,
    "attack": lambda model, loader, **options: FGSM(0.1)(model, loader[0][1], loader[0][2], **options),
}


@pytest.mark.parametrize(
    ("loss", "error", "message"),
    [
        (lambda z, y: z.sum(1).to(torch.complex64), TypeError, r"real numbers, got torch\.complex64"),
        (lambda z, y: z.mean(1, keepdim=True), ValueError, r"shape \(40,\), got \(40, 1\); .*losses\.pool"),
        (lambda z, y: z, ValueError, r"shape \(40,\), got \(40, 3\)"),
        (lambda z, y: z.sum().item(), TypeError, "loss must return a tensor, got float"),
        (lambda z, y: z.sum(1)[:39], ValueError, r"shape \(40,\), got \(39,\)"),
    ],
    ids=["complex", "column", "matrix", "number", "too few"],
)
def test_rejects_losses_that_are_not_one_real_number_per_sample(blobs, loss, error, message):
    x, y = blobs
    loader = [(torch.arange(N), x, y)]
    model = nn.Linear(2, K)
    with pytest.raises(error, match=message):
        fit(model, loader, torch.optim.SGD(model.parameters(), 0.1), 1, loss=loss)
    with pytest.raises(error, match=message):
        score(model, loader, loss)
    for weights in (None, torch.ones(N)):
        with pytest.raises(error, match=message):
            FGSM(0.1)(model, x, y, loss, weights)


# Samples without a label, and empty batches


def test_samples_without_a_label_take_no_part_in_plain_training(blobs):
    x, y = blobs
    labelled = torch.arange(N) % 4 > 0
    trained, means = [], []
    for index, labels in ((torch.arange(N)[labelled], y), (torch.arange(N), y.masked_fill(~labelled, -100))):
        model = Nested().linear
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        fit(model, [(index, x[index], labels[index])], optimizer, 3, on_epoch=lambda _, mean: means.append(mean))
        trained.append(model.weight)
    assert_close(*trained)
    assert means[:3] == pytest.approx(means[3:])
    assert evaluate(model, [(x, y.masked_fill(~labelled, -100))]) == evaluate(model, [(x[labelled], y[labelled])])
    assert score(model, [(index, x, labels)]).isnan().tolist() == (~labelled).tolist()


@pytest.mark.parametrize("name", ["empty", "without labels"])
def test_batch_without_a_loss_does_not_move_the_model(blobs, name):
    x, y = blobs
    part = slice(0) if name == "empty" else slice(8)
    model = nn.Linear(2, K)
    before = model.weight.detach().clone()
    means = []
    nothing = (torch.arange(N)[part], x[part], torch.full_like(y, -100)[part])
    loader = [nothing] if name == "without labels" else [nothing, (torch.arange(8), x[:8], torch.full((8,), -100))]
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    fit(model, loader, optimizer, 1, on_epoch=lambda _, mean: means.append(mean))
    assert_close(model.weight.detach(), before, rtol=0, atol=0)
    assert (model.weight.grad == 0).all()
    assert math.isnan(means[0])


def test_empty_batch_among_others_changes_nothing(blobs):
    x, y = blobs
    trained, means = [], []
    for splits in ([20, 20], [20, 0, 20]):
        model = Nested().linear
        loader = [(index, x[index], y[index]) for index in torch.arange(N).split(splits)]
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        fit(model, loader, optimizer, 3, on_epoch=lambda _, mean: means.append(mean))
        trained.append(model.weight)
        assert score(model, loader).shape == (N,)
        assert 0 <= evaluate(model, loader) <= 1
    assert_close(*trained, rtol=0, atol=0)
    assert means[:3] == means[3:]


def test_accuracy_without_labels_is_an_error(blobs):
    x, y = blobs
    with pytest.raises(ValueError, match="loader yields no batch with labels; an iterator yields"):
        evaluate(nn.Linear(2, K), [(x, torch.full_like(y, -100)), (x[:0], y[:0])])


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_fit_does_not_depend_on_the_default_dtype(blobs, dtype):
    found = []
    for default in (torch.float32, dtype):
        torch.manual_seed(0)
        model = nn.Linear(2, K)
        with default_dtype(default):
            optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
            fit(model, batches(*blobs, 8, shuffle=False), optimizer, 2, on_epoch=lambda _, mean: found.append(mean))
    assert found[:2] == found[2:]


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_accuracy_does_not_wait_for_the_device(device):
    """Reading a number of a tensor on the meta device raises."""

    def loader():
        for _ in range(2):
            yield torch.zeros(4, 2, device=device), torch.zeros(4, dtype=torch.int64, device=device)
        raise InterruptedError("after the last batch")

    with pytest.raises(InterruptedError, match="after the last batch"):
        evaluate(nn.Linear(2, K, device="meta"), loader())
