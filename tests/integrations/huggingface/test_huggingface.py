"""`RRMTrainer`: losses, gradients and weights against those of the Trainer and of a loop of one's own."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch.utils.data import Dataset, IterableDataset
from transformers import BertConfig, BertForSequenceClassification, BertForTokenClassification, Trainer

from rrm_torch import RRM, Ramp
from rrm_torch.integrations.huggingface import RRMMixin, RRMTrainer
from support.trainer_runs import DigitModel, Digits, Gradients, arguments, make_trainer, parameters

SHARE = {"contamination": 0.3, "warmup": 2}
PLAIN = {"contamination": 0.3, "warmup": 100}
"""Settings of a run that ends before the first reweight."""


class Rows(Dataset):
    def __init__(self, **columns):
        self.columns = columns

    def __len__(self):
        return len(next(iter(self.columns.values())))

    def __getitem__(self, position):
        return {name: values[position] for name, values in self.columns.items()}


def bert_run(folder, labels, cls, head=BertForSequenceClassification, **options):
    """Return a trainer of a tiny BERT on random tokens, and the gradients of its first step."""
    config = {name: options.pop(name) for name in ("num_labels", "problem_type") if name in options}
    torch.manual_seed(0)
    model = head(
        BertConfig(
            vocab_size=50,
            hidden_size=16,
            num_hidden_layers=1,
            num_attention_heads=2,
            intermediate_size=16,
            hidden_dropout_prob=0.0,
            attention_probs_dropout_prob=0.0,
            **config,
        )
    )
    tokens = torch.randint(0, 50, (len(labels), 7), generator=torch.Generator().manual_seed(1))
    gradients = Gradients()
    rrm = {"rrm": PLAIN} if issubclass(cls, RRMMixin) else {}
    args = arguments(folder, max_steps=1, max_grad_norm=0.0, logging_strategy="steps", logging_steps=1, **options)
    trainer = cls(model, args, train_dataset=Rows(input_ids=tokens, labels=labels), callbacks=[gradients], **rrm)
    trainer.train()
    return trainer, gradients.steps[0]


# Losses and gradients


@pytest.mark.parametrize(
    ("labels", "options"),
    [
        (torch.arange(96) % 3, {"num_labels": 3}),
        (torch.arange(96) % 3, {"num_labels": 3, "label_smoothing_factor": 0.1}),
        (torch.linspace(-1, 1, 96), {"num_labels": 1}),
        (torch.linspace(-1, 1, 192).reshape(96, 2), {"num_labels": 2, "problem_type": "regression"}),
        (
            (torch.arange(288).reshape(96, 3) % 2).float(),
            {"num_labels": 3, "problem_type": "multi_label_classification"},
        ),
    ],
    ids=["classes", "label-smoothing", "regression", "two-targets", "several-labels"],
)
def test_with_unit_weights_the_loss_and_the_gradients_are_the_trainers(tmp_path, labels, options):
    trainer, gradients = bert_run(tmp_path, labels, Trainer, **options)
    weighted, weighted_gradients = bert_run(tmp_path, labels, RRMTrainer, **options)
    expected = trainer.state.log_history[0]["loss"]
    assert weighted.state.log_history[0]["loss"] == pytest.approx(expected, rel=1e-6)
    for gradient, other in zip(weighted_gradients, gradients, strict=True):
        torch.testing.assert_close(gradient, other, rtol=1e-4, atol=1e-7)


def test_the_loss_is_the_mean_of_the_unreduced_losses_to_the_bit(tmp_path):
    trainer = make_trainer(tmp_path, rrm=PLAIN, max_steps=1)
    trainer.train()
    trainer.get_batch_samples(iter(trainer.get_train_dataloader()), 1, "cpu")
    batch = next(iter(trainer.get_train_dataloader()))
    model = trainer.model.train()
    loss = trainer.compute_loss(model, dict(batch))
    losses = F.cross_entropy(model(batch["x"])["logits"], batch["labels"], reduction="none")
    assert loss.equal(losses.mean())


@pytest.mark.parametrize("n", [128, 150], ids=["whole", "smaller-last-batches"])
@pytest.mark.parametrize("rrm", [PLAIN, SHARE], ids=["plain", "weighted"])
def test_accumulated_batches_have_the_gradient_of_one_batch(tmp_path, n, rrm):
    steps = {}
    for n_accumulated in (1, 4):
        gradients = Gradients()
        make_trainer(
            tmp_path,
            n=n,
            rrm=rrm,
            callbacks=[gradients],
            num_train_epochs=3,
            per_device_train_batch_size=32 // n_accumulated,
            gradient_accumulation_steps=n_accumulated,
            max_grad_norm=0.0,
        ).train()
        steps[n_accumulated] = gradients.steps
    assert len(steps[1]) == len(steps[4]) == 3 * -(-n // 32)
    for one, accumulated in zip(steps[1], steps[4], strict=True):
        for gradient, other in zip(one, accumulated, strict=True):
            torch.testing.assert_close(gradient, other, rtol=1e-4, atol=1e-6)


def test_a_model_with_a_loss_of_its_own_is_warned_of(tmp_path):
    class Doubled(DigitModel):
        def forward(self, x, labels=None):
            outputs = super().forward(x, labels)
            return {name: 2 * value if name == "loss" else value for name, value in outputs.items()}

    trainer = RRMTrainer(Doubled(), arguments(tmp_path), train_dataset=Digits(150), rrm=PLAIN | {"epochs": 101})
    with pytest.warns(UserWarning, match="override sample_losses"):
        trainer.train()


def test_sample_losses_can_be_overridden(tmp_path):
    class Absolute(RRMTrainer):
        def sample_losses(self, outputs, labels):
            return (outputs["logits"].softmax(1) - F.one_hot(labels, 10)).abs().sum(1)

    trainer = make_trainer(tmp_path, cls=Absolute, rrm=SHARE)
    with pytest.warns(UserWarning, match="override sample_losses"):
        trainer.train()
    assert float(trainer.rrm.losses.max()) <= 2


def test_tokens_of_a_sequence_have_one_loss(tmp_path):
    labels = torch.randint(0, 3, (96, 7), generator=torch.Generator().manual_seed(0))
    labels[0, 3:] = -100
    trainer, _ = bert_run(tmp_path, labels, RRMTrainer, head=BertForTokenClassification, num_labels=3)
    assert trainer.rrm.n == 96


# Weights


def test_the_weights_are_those_of_a_loop_of_ones_own(tmp_path):
    trainer = make_trainer(tmp_path, rrm=SHARE, lr_scheduler_type="constant", num_train_epochs=6)
    trainer.train()
    own = make_trainer(tmp_path, rrm=SHARE, lr_scheduler_type="constant", num_train_epochs=6)
    rrm = RRM(150, contamination=0.3, warmup=2)
    model = own.model.train()
    own.create_optimizer()
    loader = own.get_train_dataloader()
    for epoch in range(6):
        loader.set_epoch(epoch)
        for batch in loader:
            logits = model(batch["x"])["logits"]
            losses = F.cross_entropy(logits, batch["labels"], reduction="none")
            rrm.weighted_mean(losses, batch["sample_index"]).backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            own.optimizer.step()
            own.optimizer.zero_grad()
        rrm.step()
    assert trainer.rrm.weights.equal(rrm.weights)
    assert trainer.rrm.flagged().equal(rrm.flagged())
    assert parameters(trainer).equal(parameters(own))


def test_mixed_precision_prunes_the_samples_of_a_loop_of_ones_own(tmp_path):
    trainer = make_trainer(tmp_path, rrm=SHARE, lr_scheduler_type="constant", bf16=True)
    trainer.train()
    own = make_trainer(tmp_path, rrm=SHARE, lr_scheduler_type="constant")
    rrm = RRM(150, contamination=0.3, warmup=2)
    model = own.model.train()
    own.create_optimizer()
    loader = own.get_train_dataloader()
    for epoch in range(4):
        loader.set_epoch(epoch)
        for batch in loader:
            with torch.autocast("cpu", torch.bfloat16):
                logits = model(batch["x"])["logits"]
            losses = F.cross_entropy(logits.float(), batch["labels"], reduction="none")
            rrm.weighted_mean(losses, batch["sample_index"]).backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            own.optimizer.step()
            own.optimizer.zero_grad()
        rrm.step()
    assert trainer.rrm.flagged().sort().values.equal(rrm.flagged().sort().values)


def test_the_contamination_is_estimated_by_default(tmp_path):
    trainer = make_trainer(tmp_path, n=1000, num_train_epochs=20)
    trainer.train()
    assert 0.2 < trainer.rrm.estimate.contamination < 0.4
    is_wrong = trainer.train_dataset.digits.is_wrong
    assert float(is_wrong[trainer.rrm.flagged()].float().mean()) > 0.9


def test_a_schedule_is_a_function_of_the_epoch(tmp_path):
    trainer = make_trainer(tmp_path, rrm={"contamination": Ramp(0.4, over=4), "warmup": 1})
    trainer.train()
    pruned = [entry.n_pruned for entry in trainer.rrm.trajectory.rounds]
    assert pruned == [15, 30, 45, 60]


def test_without_a_warmup_it_is_a_third_of_the_run(tmp_path):
    trainer = make_trainer(tmp_path, rrm={"contamination": 0.3}, num_train_epochs=6)
    trainer.train()
    assert [entry.epoch for entry in trainer.rrm.trajectory.rounds] == [10, 15, 20, 25, 30]


def test_each_run_begins_anew(tmp_path):
    trainer = make_trainer(tmp_path, rrm=SHARE)
    trainer.train()
    first = trainer.rrm
    trainer.train()
    assert trainer.rrm is not first
    assert trainer.rrm.epoch == first.epoch == 20


# Runs that stop, evaluate and resume


def test_evaluation_changes_nothing(tmp_path):
    trainer = make_trainer(tmp_path, rrm=SHARE)
    trainer.train()
    evaluated = make_trainer(
        tmp_path, rrm=SHARE, eval_dataset=Digits(60, seed=1), eval_strategy="steps", eval_steps=3, eval_on_start=True
    )
    evaluated.train()
    assert len([entry for entry in evaluated.state.log_history if "eval_loss" in entry]) > 5
    assert parameters(evaluated).equal(parameters(trainer))
    assert evaluated.rrm.weights.equal(trainer.rrm.weights)


def test_evaluation_on_the_training_set_has_the_trainers_loss(tmp_path):
    trainer = make_trainer(tmp_path, rrm=SHARE)
    trainer.train()
    weights = trainer.rrm.weights.clone()
    loss = trainer.evaluate(trainer.train_dataset)["eval_loss"]
    digits = trainer.train_dataset.digits
    with torch.no_grad():
        expected = F.cross_entropy(trainer.model(digits.x)["logits"], digits.y)
    assert loss == pytest.approx(float(expected), rel=1e-5)
    assert trainer.rrm.weights.equal(weights)


@pytest.mark.parametrize(
    "options",
    [{"max_steps": 13}, {"dataloader_drop_last": True}, {"num_train_epochs": 2.5}, {"max_steps": 3}],
    ids=["max-steps", "drop-last", "half-an-epoch", "less-than-an-epoch"],
)
def test_runs_that_do_not_visit_all_samples_end_without_an_error(tmp_path, options):
    trainer = make_trainer(tmp_path, rrm={"contamination": 0.3, "warmup": 1, "epochs": 9}, **options)
    trainer.train()
    assert trainer.rrm.epoch == trainer.state.global_step


@pytest.mark.parametrize("rrm", [SHARE, {"contamination": "auto"}], ids=["share", "auto"])
@pytest.mark.parametrize("n_accumulated", [1, 2])
def test_a_run_resumed_at_any_step_ends_with_the_same_bits(tmp_path, rrm, n_accumulated):
    options = {
        "rrm": rrm,
        "num_train_epochs": 6,
        "gradient_accumulation_steps": n_accumulated,
        "per_device_train_batch_size": 32 // n_accumulated,
    }
    trainer = make_trainer(tmp_path, save_strategy="steps", save_steps=1, **options)
    trainer.train()
    assert trainer.rrm.trajectory.rounds
    for step in range(8, 14):
        resumed = make_trainer(tmp_path, **options)
        resumed.train(resume_from_checkpoint=str(tmp_path / f"checkpoint-{step}"))
        assert parameters(resumed).equal(parameters(trainer))
        assert resumed.rrm.weights.equal(trainer.rrm.weights)
        assert resumed.rrm.ranking().equal(trainer.rrm.ranking())
        assert repr(resumed.rrm.estimate) == repr(trainer.rrm.estimate)


def test_a_checkpoint_of_other_batches_is_refused(tmp_path):
    make_trainer(tmp_path, rrm=SHARE, save_strategy="epoch").train()
    other = make_trainer(tmp_path, rrm=SHARE, per_device_train_batch_size=50)
    with pytest.raises(ValueError, match="5 steps per epoch, and this run has 3: resume with the same"):
        other.train(resume_from_checkpoint=str(tmp_path / "checkpoint-10"))


def test_a_checkpoint_without_rrm_is_refused(tmp_path):
    make_trainer(tmp_path, cls=Trainer, save_strategy="epoch").train()
    with pytest.raises(FileNotFoundError, match=r"has no rrm\.pt: it was saved without RRM"):
        make_trainer(tmp_path, rrm=SHARE).train(resume_from_checkpoint=str(tmp_path / "checkpoint-10"))


# Wrong arguments


def test_an_rrm_is_refused(tmp_path):
    with pytest.raises(TypeError, match=r"rrm must be a dict of RRM's arguments.*got RRM"):
        make_trainer(tmp_path, rrm=RRM(150, contamination=0.3))


@pytest.mark.parametrize(
    ("rrm", "message"),
    [
        ({"contamination": 1.2}, "contamination must lie in"),
        ({"warmup": 2}, "must have a contamination or a gamma"),
        ({"contamination": 0.3, "unit": "step"}, "rrm must not have unit='step'"),
        ({"contamination": 0.3, "every": 0}, "every must be at least 1"),
        ({"contamination": 0.3, "epochs": 0}, "epochs must be at least 1"),
    ],
)
def test_wrong_settings_are_refused_when_the_trainer_is_made(tmp_path, rrm, message):
    with pytest.raises(ValueError, match=message):
        make_trainer(tmp_path, rrm=rrm)


def test_an_unknown_setting_is_refused(tmp_path):
    with pytest.raises(TypeError, match="contaminaton"):
        make_trainer(tmp_path, rrm={"contaminaton": 0.3, "gamma": 1.0})


def test_a_data_set_without_a_length_is_refused(tmp_path):
    class Endless(IterableDataset):
        def __iter__(self):
            yield from ()

    with pytest.raises(TypeError, match="train_dataset must have a length, got Endless"):
        RRMTrainer(DigitModel(), arguments(tmp_path, max_steps=3), train_dataset=Endless())


def test_a_loss_function_of_a_batch_is_refused(tmp_path):
    with pytest.raises(ValueError, match="compute_loss_func must be None"):
        RRMTrainer(
            DigitModel(),
            arguments(tmp_path),
            train_dataset=Digits(150),
            compute_loss_func=lambda outputs, labels, num_items_in_batch: outputs["loss"],
        )
