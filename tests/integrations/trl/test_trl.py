"""The trainers of trl with weights: losses, gradients and weights against those of the trainers themselves."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from trl import DPOTrainer, RewardTrainer, SFTTrainer

from rrm_torch.integrations.trl import RRMDPOTrainer, RRMPairMixin, RRMRewardTrainer, RRMSFTTrainer
from support.preference_runs import make_trainer, parameters, preferences
from support.trainer_runs import Gradients

PLAIN = {"contamination": 0.3, "warmup": 100, "epochs": 101}
"""Settings of a run that ends before the first reweight."""

SHARE = {"contamination": 0.3, "warmup": 1}
TRAINERS = [(RRMRewardTrainer, RewardTrainer), (RRMDPOTrainer, DPOTrainer), (RRMSFTTrainer, SFTTrainer)]
WEIGHTED = [weighted for weighted, _ in TRAINERS]
PAIR_LOSSES = (
    "sigmoid",
    "hinge",
    "ipo",
    "exo_pair",
    "nca_pair",
    "robust",
    "bco_pair",
    "sppo_hard",
    "apo_zero",
    "apo_down",
    "discopop",
    "sigmoid_norm",
)


def run(cls, folder, data=None, **options):
    """Return a trainer after a run, the losses that it logged, and its gradients."""
    gradients = Gradients()
    data = preferences(80).data if data is None else data
    options = {"logging_strategy": "steps", "logging_steps": 1, "max_grad_norm": 0.0, **options}
    trainer = make_trainer(cls, folder, data, callbacks=[gradients], **options)
    trainer.train()
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    return trainer, losses, gradients.steps


def assert_same_gradients(steps, expected_steps, *, rtol=1e-4, atol=1e-6):
    assert len(steps) == len(expected_steps) > 0
    for step, other in zip(steps, expected_steps, strict=True):
        for gradient, expected in zip(step, other, strict=True):
            torch.testing.assert_close(gradient, expected, rtol=rtol, atol=atol)


# Losses and gradients


@pytest.mark.parametrize(("weighted", "plain"), TRAINERS)
@pytest.mark.parametrize(
    "options", [{}, {"gradient_accumulation_steps": 2}, {"bf16": True}], ids=["plain", "accumulated", "bf16"]
)
def test_with_unit_weights_the_loss_and_the_gradients_are_the_trainers(tmp_path, weighted, plain, options):
    _, expected, expected_gradients = run(plain, tmp_path, **options)
    trainer, losses, gradients = run(weighted, tmp_path, rrm=PLAIN, **options)
    assert losses == pytest.approx(expected, rel=1e-6)
    assert_same_gradients(gradients, expected_gradients, rtol=1e-4, atol=1e-6)
    assert trainer.rrm.epoch == trainer.state.global_step
    assert not trainer.rrm.losses.isfinite().any()


@pytest.mark.parametrize("loss_type", PAIR_LOSSES)
def test_every_loss_of_pairs_has_the_trainers_gradient(tmp_path, loss_type):
    options = {"loss_type": loss_type, "max_steps": 3}
    if loss_type in ("exo_pair", "robust"):
        options["label_smoothing"] = 0.1
    _, expected, expected_gradients = run(DPOTrainer, tmp_path, **options)
    _, losses, gradients = run(RRMDPOTrainer, tmp_path, rrm=PLAIN, **options)
    assert losses == pytest.approx(expected, rel=1e-6)
    assert_same_gradients(gradients, expected_gradients)


def test_a_sum_of_losses_has_the_trainers_gradient(tmp_path):
    options = {"loss_type": ["sigmoid", "bco_pair"], "loss_weights": [0.8, 0.5], "max_steps": 3}
    _, expected, expected_gradients = run(DPOTrainer, tmp_path, **options)
    _, losses, gradients = run(RRMDPOTrainer, tmp_path, rrm=PLAIN, **options)
    assert losses == pytest.approx(expected, rel=1e-6)
    assert_same_gradients(gradients, expected_gradients)


def test_the_centering_term_of_a_reward_model_is_kept(tmp_path):
    options = {"center_rewards_coefficient": 0.1, "max_steps": 3}
    _, expected, expected_gradients = run(RewardTrainer, tmp_path, **options)
    _, losses, gradients = run(RRMRewardTrainer, tmp_path, rrm=PLAIN, **options)
    assert losses == pytest.approx(expected, rel=1e-6)
    assert_same_gradients(gradients, expected_gradients)


@pytest.mark.parametrize("cls", WEIGHTED)
@pytest.mark.parametrize("rrm", [PLAIN, SHARE], ids=["plain", "weighted"])
def test_accumulated_batches_have_the_gradient_of_one_batch(tmp_path, cls, rrm):
    data = preferences(72).data
    _, _, one = run(cls, tmp_path, data, rrm=rrm, per_device_train_batch_size=16)
    _, _, four = run(cls, tmp_path, data, rrm=rrm, per_device_train_batch_size=4, gradient_accumulation_steps=4)
    assert_same_gradients(four, one, rtol=1e-3, atol=1e-5)


def test_the_losses_of_pairs_are_recorded(tmp_path):
    data = preferences(64).data
    trainer, losses, _ = run(RRMRewardTrainer, tmp_path, data, rrm=SHARE, num_train_epochs=1)
    assert float(trainer.rrm.losses.mean()) == pytest.approx(sum(losses) / len(losses), rel=1e-5)


def test_the_loss_of_a_sequence_is_the_mean_of_its_tokens(tmp_path):
    data = preferences(64).data
    rrm = {"contamination": 0.3, "warmup": 1}
    trainer, _, _ = run(RRMSFTTrainer, tmp_path, data, rrm=rrm, num_train_epochs=1, learning_rate=0.0)
    model = trainer.model.eval()
    for index in range(5):
        tokens = torch.tensor([trainer.train_dataset[index]["input_ids"]])
        with torch.no_grad():
            logits = model(tokens).logits[0, :-1]
        expected = F.cross_entropy(logits, tokens[0, 1:])
        assert float(trainer.rrm.losses[index]) == pytest.approx(float(expected), rel=1e-5)


def test_the_loss_of_a_batch_is_that_of_weighted_sequences(tmp_path):
    data = preferences(64).data
    trainer, _, _ = run(RRMSFTTrainer, tmp_path, data, rrm=SHARE)
    weights = trainer.rrm.weights
    assert int((weights == 0).sum()) == 19
    batches, n_tokens = trainer.get_batch_samples(iter(trainer.get_train_dataloader()), 1, torch.device("cpu"))
    batch = batches[0]
    index = batch["sample_index"]
    model = trainer.model.train()
    loss = trainer.compute_loss(model, dict(batch), num_items_in_batch=n_tokens)
    logits = model(batch["input_ids"], attention_mask=batch["attention_mask"]).logits[:, :-1]
    tokens = F.cross_entropy(logits.transpose(1, 2), batch["labels"][:, 1:], reduction="none")
    expected = (weights[index] * tokens.sum(1)).sum() / n_tokens
    assert float(loss.detach()) == pytest.approx(float(expected.detach()), rel=1e-5)


def test_margins_are_the_differences_of_the_rewards(tmp_path):
    data = preferences(64).data.add_column("margin", [0.5] * 32 + [2.0] * 32)
    seen = []

    class Spy(RRMRewardTrainer):
        def _margins(self, losses, inputs):
            margins = super()._margins(losses, inputs)
            ids = {name: inputs[name] for name in ("input_ids", "attention_mask")}
            chosen, rejected = self.model(**ids).logits.squeeze(-1).detach().chunk(2)
            seen.append((margins, chosen - rejected))
            return margins

    run(Spy, tmp_path, data, rrm=PLAIN, num_train_epochs=1)
    assert len(seen) == 4
    for margins, expected in seen:
        torch.testing.assert_close(margins, expected, rtol=1e-3, atol=1e-4)


def test_a_loss_that_weights_cannot_enter_is_refused(tmp_path):
    class Summing(RewardTrainer):
        def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
            loss = super().compute_loss(model, inputs, False, num_items_in_batch)
            rewards = model(**{name: inputs[name] for name in ("input_ids", "attention_mask")}).logits
            return loss.detach() + rewards.square().sum()

    class Mixed(RRMPairMixin, Summing):
        def _factors(self):
            return [-1.0]

    with pytest.raises(RuntimeError, match="Mixed can't weight the pairs"):
        make_trainer(Mixed, tmp_path, preferences(64).data, rrm=PLAIN).train()


@pytest.mark.parametrize("cls", WEIGHTED)
def test_losses_of_ones_own_are_refused(tmp_path, cls):
    class Overridden(cls):
        def sample_losses(self, outputs, labels):
            return labels

    with pytest.raises(ValueError, match="never calls sample_losses"):
        make_trainer(Overridden, tmp_path, preferences(64).data, rrm=PLAIN)


# Weights


@pytest.mark.parametrize("cls", [RRMRewardTrainer, RRMDPOTrainer])
@pytest.mark.parametrize("rrm", [{"contamination": 0.3}, {"contamination": "auto"}], ids=["share", "auto"])
def test_pairs_in_the_wrong_order_are_found(tmp_path, cls, rrm):
    data, is_wrong = preferences(1000)
    trainer = make_trainer(cls, tmp_path, data, rrm=rrm, num_train_epochs=14, lr_scheduler_type="constant")
    trainer.train()
    flagged = trainer.rrm.flagged()
    assert float(is_wrong[flagged].float().mean()) > 0.8
    assert float(is_wrong[flagged].sum()) > 0.6 * float(is_wrong.sum())
    if trainer.rrm.estimate is not None:
        assert 0.15 < trainer.rrm.estimate.contamination < 0.45


# Runs that stop, evaluate and resume


@pytest.mark.parametrize("cls", WEIGHTED)
def test_evaluation_changes_nothing(tmp_path, cls):
    data = preferences(80).data
    trainer = make_trainer(cls, tmp_path, data, rrm=SHARE)
    trainer.train()
    other = preferences(30, seed=1).data
    if cls is RRMSFTTrainer:
        other = other.select_columns(["chosen"]).rename_column("chosen", "text")
    evaluated = make_trainer(cls, tmp_path, data, rrm=SHARE, eval_dataset=other, eval_strategy="steps", eval_steps=2)
    evaluated.train()
    assert parameters(evaluated).equal(parameters(trainer))
    assert evaluated.rrm.weights.equal(trainer.rrm.weights)


@pytest.mark.parametrize("cls", WEIGHTED)
def test_a_run_resumed_at_any_step_ends_with_the_same_bits(tmp_path, cls):
    data = preferences(80).data
    trainer = make_trainer(cls, tmp_path, data, rrm=SHARE, save_strategy="steps", save_steps=1)
    trainer.train()
    for step in range(5, 10):
        resumed = make_trainer(cls, tmp_path, data, rrm=SHARE)
        resumed.train(resume_from_checkpoint=str(tmp_path / f"checkpoint-{step}"))
        assert parameters(resumed).equal(parameters(trainer))
        assert resumed.rrm.weights.equal(trainer.rrm.weights)
        assert resumed.rrm.ranking().equal(trainer.rrm.ranking())


@pytest.mark.parametrize("cls", WEIGHTED)
@pytest.mark.parametrize("options", [{"max_steps": 7}, {"dataloader_drop_last": True}], ids=["max-steps", "drop-last"])
def test_runs_that_do_not_visit_all_samples_end_without_an_error(tmp_path, cls, options):
    trainer = make_trainer(cls, tmp_path, preferences(88).data, rrm={"contamination": 0.3, "warmup": 1}, **options)
    trainer.train()
    assert trainer.rrm.epoch == trainer.state.global_step
    assert trainer.rrm.trajectory.rounds


# Wrong arguments


@pytest.mark.parametrize("loss_type", ["aot", "aot_unpaired", "sft"])
def test_a_loss_that_mixes_pairs_is_refused(tmp_path, loss_type):
    with pytest.raises(ValueError, match=f"loss_type='{loss_type}' has no loss of each pair"):
        make_trainer(RRMDPOTrainer, tmp_path, preferences(30).data, rrm=PLAIN, loss_type=loss_type)


@pytest.mark.parametrize(
    "options",
    [{"loss_type": "hinge"}, {"label_smoothing": 0.1}, {"use_weighting": True}],
    ids=["hinge", "smoothing", "weighting"],
)
def test_auto_is_refused_where_the_loss_is_no_probability(tmp_path, options):
    with pytest.raises(ValueError, match="'auto' needs loss_type='sigmoid' without label smoothing"):
        make_trainer(RRMDPOTrainer, tmp_path, preferences(120).data, **options)


@pytest.mark.parametrize("rrm", [None, {"contamination": 0.3, "warmup": "auto"}], ids=["default", "warm-up"])
def test_auto_is_refused_for_sequences(tmp_path, rrm):
    with pytest.raises(ValueError, match="must have a contamination that is a number"):
        make_trainer(RRMSFTTrainer, tmp_path, preferences(120).data, rrm=rrm)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"packing": True}, "packing must be False"),
        ({"padding_free": True, "max_length": None}, "padding_free must be False"),
        ({"loss_type": "dft"}, "loss_type must be 'nll', got 'dft'"),
        ({"label_smoothing_factor": 0.1}, "label_smoothing_factor must be 0"),
    ],
)
def test_sequences_without_a_loss_of_their_own_are_refused(tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        make_trainer(RRMSFTTrainer, tmp_path, preferences(30).data, rrm=PLAIN, **options)
