"""`RRMTrainer`: losses, gradients and weights against those of the Trainer and of a loop of one's own."""

from __future__ import annotations

import datasets
import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch.utils.data import Dataset, IterableDataset
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    BertForTokenClassification,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    Trainer,
)

from rrm_torch import RRM, Ramp
from rrm_torch.integrations.huggingface import RRMMixin, RRMTrainer
from rrm_torch.integrations.settings import with_warmup
from support.noisy_digits import noisy_digits
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


class LogitsOnly(DigitModel):
    """A model without a loss of its own."""

    def forward(self, x, labels=None):
        return super().forward(x)


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
    rrm = {"rrm": options.pop("rrm", PLAIN)} if issubclass(cls, RRMMixin) else {}
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
    rrm_options = {"head": BertForTokenClassification, "num_labels": 3, "per_device_train_batch_size": 96}
    trainer, _ = bert_run(tmp_path, labels, RRMTrainer, rrm={"contamination": 0.3, "warmup": 1}, **rrm_options)
    start, _ = bert_run(tmp_path, labels, RRMTrainer, learning_rate=0.0, **rrm_options)
    tokens = trainer.train_dataset.columns["input_ids"]
    with torch.no_grad():
        logits = start.model.eval()(tokens).logits
    expected = F.cross_entropy(logits.transpose(1, 2), labels, reduction="none")[0, :3].mean()
    assert float(trainer.rrm.losses[0]) == pytest.approx(float(expected), rel=1e-4)


@pytest.mark.parametrize("n_accumulated", [1, 4])
def test_samples_without_a_label_have_no_part_in_the_mean(tmp_path, n_accumulated):
    class Unlabelled(Digits):
        def __getitem__(self, position):
            item = super().__getitem__(position)
            return item | {"labels": item["labels"] if position % 3 else torch.tensor(-100)}

    steps = []
    for size in (48, 48 // n_accumulated):
        gradients = Gradients()
        RRMTrainer(
            DigitModel(),
            arguments(
                tmp_path,
                max_steps=3,
                per_device_train_batch_size=size,
                gradient_accumulation_steps=48 // size,
                max_grad_norm=0.0,
            ),
            train_dataset=Unlabelled(150),
            rrm=PLAIN,
            callbacks=[gradients],
        ).train()
        steps.append(gradients.steps)
    for one, accumulated in zip(*steps, strict=True):
        for gradient, other in zip(one, accumulated, strict=True):
            torch.testing.assert_close(gradient, other, rtol=1e-4, atol=1e-6)


def test_a_step_without_labels_has_the_loss_and_the_gradient_0(tmp_path):
    digits = noisy_digits(64)
    gradients = Gradients()
    data = Rows(x=digits.x, labels=torch.full((64,), -100))
    args = arguments(tmp_path, max_steps=1, logging_nan_inf_filter=False)
    trainer = RRMTrainer(LogitsOnly(), args, train_dataset=data, rrm=PLAIN, callbacks=[gradients])
    assert trainer.train().training_loss == 0
    assert all(not gradient.any() for gradient in gradients.steps[0])


def test_a_model_may_return_a_tuple(tmp_path):
    class Pair(DigitModel):
        def forward(self, x, labels=None):
            return tuple(super().forward(x, labels).values())

    trainer = make_trainer(tmp_path, rrm=SHARE)
    trainer.train()
    torch.manual_seed(0)
    other = RRMTrainer(Pair(), arguments(tmp_path), train_dataset=Digits(150), rrm=SHARE)
    other.train()
    assert other.rrm.weights.equal(trainer.rrm.weights)


def test_labels_may_have_another_name(tmp_path):
    class Target(DigitModel):
        def forward(self, x, target=None):
            return super().forward(x, target)

    digits = noisy_digits(150)
    args = arguments(tmp_path, label_names=["target"])
    trainer = RRMTrainer(Target(), args, train_dataset=Rows(x=digits.x, target=digits.y), rrm=SHARE)
    trainer.train()
    assert trainer.rrm.plan.n_pruned == 45


def test_several_labels_need_losses_of_ones_own(tmp_path):
    class TwoHeads(DigitModel):
        def forward(self, x, first=None, second=None):
            return super().forward(x, first)

    class Summed(RRMTrainer):
        def sample_losses(self, outputs, labels):
            return sum(F.cross_entropy(outputs["logits"], y, reduction="none") for y in labels) / 2

    digits = noisy_digits(150)
    data = Rows(x=digits.x, first=digits.y, second=digits.y)
    args = arguments(tmp_path, label_names=["first", "second"])
    with pytest.raises(ValueError, match="several labels: override sample_losses"):
        RRMTrainer(TwoHeads(), args, train_dataset=data, rrm=SHARE).train()
    trainer = Summed(TwoHeads(), args, train_dataset=data, rrm=SHARE)
    trainer.train()
    assert trainer.rrm.plan.n_pruned == 45


@pytest.mark.parametrize("name", ["gpt2", "llama"])
def test_causal_language_models_are_refused(tmp_path, name):
    sizes = {"vocab_size": 30, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 1}
    if name == "gpt2":
        model = GPT2LMHeadModel(GPT2Config(n_embd=16, n_layer=1, n_head=2, n_positions=16, **sizes))
    else:
        width = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
        model = LlamaForCausalLM(LlamaConfig(**width, **sizes))
    tokens = torch.randint(2, 30, (120, 6))
    data = Rows(input_ids=tokens, labels=tokens)
    with pytest.raises(ValueError, match="a causal language model predicts the next token"):
        RRMTrainer(model, arguments(tmp_path), train_dataset=data, rrm=SHARE).train()


def test_smoothed_labels_of_tokens_are_refused(tmp_path):
    labels = torch.randint(0, 3, (96, 7))
    with pytest.raises(ValueError, match="label_smoothing_factor must be 0 where each token has a label"):
        bert_run(
            tmp_path,
            labels,
            RRMTrainer,
            head=BertForTokenClassification,
            num_labels=3,
            label_smoothing_factor=0.1,
        )


def test_a_trainer_with_a_loss_of_its_own_is_refused(tmp_path):
    class Doubling(Trainer):
        def compute_loss(self, *args, **kwargs):
            return 2 * super().compute_loss(*args, **kwargs)

    class Mixed(RRMMixin, Doubling):
        pass

    class Overridden(Mixed):
        def sample_losses(self, outputs, labels):
            return 2 * super().sample_losses(outputs, labels)

    with pytest.raises(ValueError, match=r"Doubling.compute_loss returns one number for a batch"):
        make_trainer(tmp_path, cls=Mixed, rrm=SHARE)
    make_trainer(tmp_path, cls=Overridden, rrm=SHARE)


# Data sets


@pytest.mark.parametrize("options", [{"train_sampling_strategy": "group_by_length"}, {"dataloader_num_workers": 1}])
def test_a_data_set_of_datasets_keeps_its_columns_and_order(tmp_path, options):
    class Tokens(DigitModel):
        def forward(self, input_ids, labels=None):
            return super().forward(input_ids, labels)

    digits = noisy_digits(150)
    columns = {"input_ids": digits.x, "labels": digits.y, "name": [str(i) for i in range(150)]}
    data = datasets.Dataset.from_dict(columns).with_format("torch")
    trainer = RRMTrainer(Tokens(), arguments(tmp_path, **options), train_dataset=data, rrm=SHARE)
    trainer.train()
    assert trainer.rrm.plan.n_pruned == 45
    for batch in trainer.get_train_dataloader():
        assert set(batch) == {"input_ids", "labels", "sample_index"}
        assert batch["input_ids"].equal(digits.x[batch["sample_index"]])
    assert trainer.train_dataset is data


def test_items_of_any_kind_go_to_the_collator_of_the_user(tmp_path):
    def collate(items):
        x, y = zip(*items, strict=True)
        return {"x": torch.stack(x), "labels": torch.stack(y)}

    digits = noisy_digits(150)
    pairs = torch.utils.data.TensorDataset(digits.x, digits.y)
    args = arguments(tmp_path, remove_unused_columns=False)
    torch.manual_seed(0)
    trainer = RRMTrainer(DigitModel(), args, train_dataset=pairs, data_collator=collate, rrm=SHARE)
    trainer.train()
    other = make_trainer(tmp_path, rrm=SHARE)
    other.train()
    assert trainer.rrm.weights.equal(other.rrm.weights)
    assert trainer.data_collator is collate


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


def test_mu_and_gamma_are_functions_of_the_epoch(tmp_path):
    trainer = make_trainer(tmp_path, rrm={"gamma": lambda epoch: 9 - epoch, "mu": Ramp(1.0, over=4), "warmup": 1})
    trainer.train()
    rounds = trainer.rrm.trajectory.rounds
    gammas = [entry.threshold - entry.loss_min for entry in rounds]
    assert gammas == pytest.approx([8, 7, 6, 5], abs=1e-5)
    assert [trainer.rrm.settings.mu_at(entry.epoch) for entry in rounds] == [0.25, 0.5, 0.75, 1.0]


@pytest.mark.parametrize(("epochs", "expected"), [(1, 1), (6, 2), (30, 10), (60, 10)])
def test_the_default_warmup_is_a_third_of_the_run_and_at_most_10_epochs(epochs, expected):
    assert with_warmup({"contamination": 0.3}, epochs)["warmup"] == expected


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


def test_a_resumed_run_may_be_longer(tmp_path):
    options = {"rrm": {"contamination": 0.3}, "lr_scheduler_type": "constant"}
    make_trainer(tmp_path, num_train_epochs=6, save_strategy="epoch", **options).train()
    longer = make_trainer(tmp_path, num_train_epochs=12, **options)
    longer.train(resume_from_checkpoint=str(tmp_path / "checkpoint-15"))
    assert longer.rrm.settings.warmup == 10
    assert longer.rrm.epoch == 60


def test_a_run_after_a_resumed_one_begins_anew(tmp_path):
    make_trainer(tmp_path, rrm=SHARE, save_strategy="epoch").train()
    trainer = make_trainer(tmp_path, rrm=SHARE)
    trainer.train(resume_from_checkpoint=str(tmp_path / "checkpoint-10"))
    trainer.train()
    assert trainer.rrm.epoch == 20


def test_a_checkpoint_of_other_batches_is_refused(tmp_path):
    make_trainer(tmp_path, rrm=SHARE, save_strategy="epoch").train()
    other = make_trainer(tmp_path, rrm=SHARE, per_device_train_batch_size=50)
    with pytest.raises(ValueError, match="5 steps per epoch, and this run has 3: resume with the same"):
        other.train(resume_from_checkpoint=str(tmp_path / "checkpoint-10"))


def test_a_checkpoint_of_other_samples_is_refused_by_their_ids(tmp_path):
    rrm = {**SHARE, "ids": np.arange(150)}
    make_trainer(tmp_path, rrm=rrm, save_strategy="epoch").train()
    resumed = make_trainer(tmp_path, rrm={**rrm, "ids": np.arange(150)[::-1].copy()})
    with pytest.raises(ValueError, match="ids"):
        resumed.train(resume_from_checkpoint=str(tmp_path / "checkpoint-10"))


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


def test_a_trainer_that_bypasses_the_losses_warns_after_the_first_epoch(tmp_path):
    class Own(RRMTrainer):
        def compute_loss(self, model, inputs, *args, **kwargs):
            inputs.pop("sample_index")
            return model(**inputs)["loss"]

    trainer = make_trainer(tmp_path, cls=Own, rrm=SHARE, num_train_epochs=1)
    with pytest.warns(UserWarning, match="an override of compute_loss bypasses it; override sample_losses"):
        trainer.train()


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
