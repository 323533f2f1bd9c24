"""`RRMCallback`: losses, gradients and weights against Lightning's own and those of a loop of one's own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from lightning.pytorch.callbacks import ModelCheckpoint

from rrm_torch import RRM
from rrm_torch.integrations.lightning import RRMCallback
from support.lightning_runs import Classifier, StatefulLoader, digits_loader, make_trainer, parameters

SHARE = {"contamination": 0.3, "warmup": 2}
PLAIN = {"contamination": 0.3, "warmup": 100, "epochs": 101}
"""Settings of a run that ends before the first reweight."""


def fitted(rrm, loader=None, validation=None, **options):
    """Return a module, its callback and the trainer after a run."""
    callback = RRMCallback(rrm)
    model = Classifier()
    trainer = make_trainer(callback, **options)
    trainer.fit(model, digits_loader(150) if loader is None else loader, validation)
    return model, callback, trainer


# Losses and gradients


def test_with_unit_weights_the_losses_are_the_means_to_the_bit():
    model, _, _ = fitted(PLAIN)
    plain = Classifier(is_weighted=False)
    make_trainer().fit(plain, digits_loader(150))
    assert torch.stack(model.losses).equal(torch.stack(plain.losses))
    assert parameters(model).equal(parameters(plain))


@pytest.mark.parametrize("rrm", [PLAIN, SHARE], ids=["plain", "weighted"])
def test_accumulated_batches_have_the_gradient_of_one_batch(rrm):
    one, _, _ = fitted(rrm, digits_loader(128, batch_size=32))
    four, callback, _ = fitted(rrm, digits_loader(128, batch_size=8), accumulate_grad_batches=4)
    assert len(one.gradients) == len(four.gradients) == 16
    assert callback.rrm.epoch == 64
    for gradient, other in zip(four.gradients, one.gradients, strict=True):
        torch.testing.assert_close(gradient, other, rtol=1e-4, atol=1e-6)


# Weights


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_the_weights_are_those_of_a_loop_of_ones_own(precision):
    _, callback, _ = fitted(SHARE, precision=precision)
    rrm = RRM(150, contamination=0.3, warmup=2)
    model = Classifier()
    optimizer = model.configure_optimizers()
    loader = digits_loader(150)
    for _ in range(4):
        for index, x, y in loader:
            with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16-mixed"):
                logits = model.network(x)
                losses = F.cross_entropy(logits.float(), y, reduction="none")
            optimizer.zero_grad()
            rrm.weighted_mean(losses, index).backward()
            optimizer.step()
        rrm.step()
    assert callback.rrm.weights.equal(rrm.weights)
    assert callback.rrm.flagged().equal(rrm.flagged())


def test_the_contamination_is_estimated_by_default():
    loader = digits_loader(1000)
    _, callback, _ = fitted(None, loader, max_epochs=20)
    assert 0.2 < callback.rrm.estimate.contamination < 0.4
    assert callback.rrm.plan.n_pruned > 200


def test_each_run_begins_anew():
    _, callback, _ = fitted(SHARE)
    first = callback.rrm
    make_trainer(callback).fit(Classifier(), digits_loader(150))
    assert callback.rrm is not first
    assert callback.rrm.weights.equal(first.weights)


# Runs that stop, validate and resume


def test_validation_changes_nothing():
    model, callback, _ = fitted(SHARE)
    validated, other, trainer = fitted(
        SHARE, validation=digits_loader(60, seed=1, shuffle=False), val_check_interval=2, num_sanity_val_steps=1
    )
    assert "accuracy" in trainer.callback_metrics
    assert parameters(validated).equal(parameters(model))
    assert other.rrm.weights.equal(callback.rrm.weights)


@pytest.mark.parametrize(
    ("options", "n_batches"),
    [
        ({"max_steps": 13, "max_epochs": -1}, 13),
        ({"limit_train_batches": 3}, 12),
        ({"accumulate_grad_batches": 4}, 20),
        ({"max_steps": 3, "max_epochs": -1}, 3),
    ],
    ids=["max-steps", "fewer-batches", "smaller-last-accumulation", "less-than-an-epoch"],
)
def test_runs_that_do_not_visit_all_samples_end_without_an_error(options, n_batches):
    _, callback, _ = fitted({"contamination": 0.3, "warmup": 1, "epochs": 9}, **options)
    assert callback.rrm.epoch == n_batches
    n_per_epoch = callback.rrm.steps_per_epoch
    reweights = [entry.epoch for entry in callback.rrm.trajectory.rounds]
    assert reweights == list(range(n_per_epoch, n_batches + 1, n_per_epoch))


def test_a_loader_that_drops_the_last_batch_is_no_error():
    _, callback, _ = fitted(SHARE, digits_loader(150, drop_last=True))
    assert callback.rrm.epoch == 16
    assert callback.rrm.plan.n_pruned > 30


@pytest.mark.parametrize("is_first", [True, False], ids=["checkpoint-first", "rrm-first"])
@pytest.mark.parametrize("rrm", [SHARE, {"contamination": "auto"}], ids=["share", "auto"])
@pytest.mark.parametrize("n_accumulated", [1, 2])
def test_a_run_resumed_at_any_step_ends_with_the_same_bits(tmp_path, rrm, n_accumulated, is_first):
    options = {"max_epochs": 6, "accumulate_grad_batches": n_accumulated, "enable_checkpointing": True}

    def run(folder, path=None):
        callback = RRMCallback(rrm)
        saving = ModelCheckpoint(folder, "{step}", every_n_train_steps=1, save_top_k=-1)
        model = Classifier()
        trainer = make_trainer(None, callbacks=[saving, callback] if is_first else [callback, saving], **options)
        loader = digits_loader(128, cls=StatefulLoader, batch_size=32 // n_accumulated)
        trainer.fit(model, loader, ckpt_path=path, weights_only=False)
        return model, callback

    model, callback = run(tmp_path / "whole")
    assert callback.rrm.trajectory.rounds
    assert callback.rrm.epoch == 24 * n_accumulated
    for step in range(7, 12):
        resumed, other = run(tmp_path / "resumed", tmp_path / "whole" / f"step={step}.ckpt")
        assert parameters(resumed).equal(parameters(model))
        assert other.rrm.weights.equal(callback.rrm.weights)
        assert other.rrm.ranking().equal(callback.rrm.ranking())
        assert repr(other.rrm.estimate) == repr(callback.rrm.estimate)


def test_a_checkpoint_without_rrm_is_refused(tmp_path):
    trainer = make_trainer()
    trainer.fit(Classifier(is_weighted=False), digits_loader(150))
    trainer.save_checkpoint(tmp_path / "run.ckpt")
    with pytest.raises(ValueError, match="has no state of RRMCallback: it was saved without it"):
        make_trainer(RRMCallback(SHARE), max_epochs=6).fit(
            Classifier(), digits_loader(150), ckpt_path=tmp_path / "run.ckpt"
        )


def test_a_state_that_was_loaded_for_validation_is_not_used_by_a_new_run(tmp_path):
    model, callback, trainer = fitted(SHARE)
    trainer.save_checkpoint(tmp_path / "run.ckpt")
    other = RRMCallback(SHARE)
    loader = digits_loader(60, seed=1, shuffle=False)
    make_trainer(other).validate(model, loader, ckpt_path=tmp_path / "run.ckpt", weights_only=False)
    make_trainer(other).fit(Classifier(), digits_loader(150))
    assert other.rrm.weights.equal(callback.rrm.weights)


def test_a_trainer_that_goes_on_keeps_its_rrm():
    model, callback, trainer = fitted(SHARE)
    first = callback.rrm
    trainer.fit_loop.max_epochs = 6
    trainer.fit(model, digits_loader(150))
    assert callback.rrm is first
    assert first.epoch == 30


def test_a_module_has_no_rrm_after_a_run():
    model, _, _ = fitted(SHARE)
    assert not hasattr(model, "rrm")
    with pytest.raises(AttributeError, match="rrm"):
        make_trainer().fit(model, digits_loader(150))


def test_without_a_warmup_it_is_a_third_of_the_epochs_that_max_steps_allows():
    _, callback, _ = fitted({"contamination": 0.3}, max_steps=30, max_epochs=100)
    assert callback.rrm.settings.warmup == 2 * 5
    assert callback.rrm.epochs == 6


def test_a_resumed_run_may_be_longer(tmp_path):
    _, callback, trainer = fitted({"contamination": 0.3}, max_epochs=6)
    trainer.save_checkpoint(tmp_path / "run.ckpt")
    other = RRMCallback({"contamination": 0.3})
    longer = make_trainer(other, max_epochs=12)
    longer.fit(Classifier(), digits_loader(150), ckpt_path=tmp_path / "run.ckpt", weights_only=False)
    assert other.rrm.settings.warmup == callback.rrm.settings.warmup == 10
    assert other.rrm.epoch == 60


def test_a_run_that_had_ended_restores_its_rrm(tmp_path):
    _, callback, trainer = fitted(SHARE)
    trainer.save_checkpoint(tmp_path / "run.ckpt")
    other = RRMCallback(SHARE)
    make_trainer(other).fit(Classifier(), digits_loader(150), ckpt_path=tmp_path / "run.ckpt", weights_only=False)
    assert other.rrm.weights.equal(callback.rrm.weights)
    assert other.rrm.flagged().equal(callback.rrm.flagged())


def test_a_trainer_goes_on_with_the_rrm_of_a_run_that_had_ended(tmp_path):
    _, _, trainer = fitted(SHARE)
    trainer.save_checkpoint(tmp_path / "run.ckpt")
    callback = RRMCallback(SHARE)
    trainer = make_trainer(callback)
    model = Classifier()
    loader = digits_loader(150)
    trainer.fit(model, loader, ckpt_path=tmp_path / "run.ckpt", weights_only=False)
    trainer.fit_loop.max_epochs = 6
    trainer.fit(model, loader)
    assert callback.rrm.epoch == 30


def test_a_training_step_that_does_not_use_rrm_warns_after_the_first_epoch():
    with (
        pytest.raises(ValueError, match="none has a loss"),
        pytest.warns(UserWarning, match=r"no loss of any sample: training_step must return self\.rrm\.weighted_mean"),
    ):
        make_trainer(RRMCallback(SHARE)).fit(Classifier(is_weighted=False), digits_loader(150))


def test_samples_that_each_batch_numbers_from_0_warn():
    class Numbered(Classifier):
        def training_step(self, batch):
            _, x, y = batch
            return super().training_step((torch.arange(len(x)), x, y))

    with pytest.warns(UserWarning, match="5 batches recorded losses of only the samples 0 to 31 of 150: index must"):
        make_trainer(RRMCallback(SHARE)).fit(Numbered(), digits_loader(150))


def test_a_sampler_that_draws_few_samples_does_not_warn():
    # The first ten: in the first batch are up to four of them.
    sampler = torch.utils.data.WeightedRandomSampler([1.0] * 10 + [0.0] * 140, 80)
    loader = digits_loader(150, batch_size=4, shuffle=False, sampler=sampler)
    _, callback, _ = fitted({"contamination": 0.3, "warmup": 3}, loader, max_epochs=4)
    assert callback.rrm.epoch == 80


def test_epochs_are_right_with_manual_optimization():
    class Manual(Classifier):
        automatic_optimization = False

        def training_step(self, batch):
            loss = super().training_step(batch)
            self.manual_backward(loss)
            self.optimizers().step()
            self.optimizers().step()
            self.optimizers().zero_grad()

    callback = RRMCallback(SHARE)
    make_trainer(callback).fit(Manual(), digits_loader(150))
    assert [entry.epoch for entry in callback.rrm.trajectory.rounds] == [10, 15, 20]


# Two processes


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """Return what the two processes of `lightning_job` saved, those of rank 0 first."""
    folder = tmp_path_factory.mktemp("ranks")
    job = Path(__file__).parents[2] / "support" / "lightning_job.py"
    run = subprocess.run([sys.executable, job, folder], capture_output=True, text=True, timeout=300)
    assert run.returncode == 0, run.stderr[-4000:]
    assert (folder / "run.ckpt").exists()
    return [torch.load(folder / f"rank{rank}.pt", weights_only=True) for rank in (0, 1)]


def test_two_processes_agree(results):
    for name, value in results[0].items():
        assert value.equal(results[1][name]), name
    assert len(results[0]["flagged"]) == 48


# Wrong arguments


def test_an_rrm_is_refused():
    with pytest.raises(TypeError, match=r"rrm must be a dict of RRM's arguments.*got RRM"):
        RRMCallback(RRM(150, contamination=0.3))


def test_wrong_settings_are_refused_when_the_callback_is_made():
    with pytest.raises(ValueError, match="contamination must lie in"):
        RRMCallback({"contamination": 1.2})


def test_an_unknown_number_of_samples_is_refused():
    class Loader(list):
        pass

    loader = Loader(digits_loader(150))
    with pytest.raises(ValueError, match="n must be given where there is no single training loader over a data set"):
        fitted(SHARE, loader)
    callback = RRMCallback(SHARE, n=150)
    make_trainer(callback).fit(Classifier(), loader)
    assert callback.rrm.n == 150
