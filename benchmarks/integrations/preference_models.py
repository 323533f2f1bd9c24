"""Small models over embeddings of reviews, and the trainers of trl that are compared on them.

A review is one token, whose embedding is given and not trained.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from datasets import Dataset
from tokenizers import Tokenizer, models, pre_tokenizers
from torch import Tensor, nn
from transformers import LlamaConfig, LlamaForCausalLM, PretrainedConfig, PreTrainedModel, PreTrainedTokenizerFast
from transformers.modeling_outputs import SequenceClassifierOutput
from trl import DPOConfig, DPOTrainer, RewardConfig, RewardTrainer

from rrm_torch.integrations.trl import RRMDPOTrainer, RRMRewardTrainer

from .digits_run import Array

EPOCHS = {"reward": 30, "dpo": 10}
BATCH_SIZE = 32
LEARNING_RATE = {"reward": 1e-3, "dpo": 3e-4}
SPECIAL = ("<pad>", "<eos>", "good", "bad")
HIDDEN = 256


def word(review: int) -> str:
    """Return the token of a review."""
    return f"r{review}"


def tokenizer(n_reviews: int) -> PreTrainedTokenizerFast:
    """Return a tokenizer whose tokens are the reviews and the two answers."""
    names = [*SPECIAL, *map(word, range(n_reviews))]
    words = Tokenizer(models.WordLevel({name: i for i, name in enumerate(names)}))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=words, pad_token="<pad>", eos_token="<eos>")


class RewardModel(PreTrainedModel):  # type: ignore[misc]
    """A network of one hidden layer on the embedding of a review."""

    config_class = PretrainedConfig

    def __init__(self, config: PretrainedConfig, embeddings: Tensor) -> None:
        super().__init__(config)
        self.head = nn.Sequential(nn.Linear(embeddings.shape[1], HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, 1))
        self.post_init()
        # Last, since it must not be initialized.
        self.table = nn.Embedding.from_pretrained(embeddings)

    def forward(self, input_ids: Tensor, attention_mask: Tensor, use_cache: bool = False) -> Any:
        """Return the reward of each review, its first token."""
        return SequenceClassifierOutput(logits=self.head(self.table(input_ids[:, 0])))


def make_model(task: str, embeddings: Tensor, seed: int) -> Any:
    """Return a new reward model, or a new language model of one layer."""
    torch.manual_seed(seed)
    width = embeddings.shape[1]
    table = torch.cat([torch.randn(len(SPECIAL), width) / width**0.5, embeddings])
    if task == "reward":
        return RewardModel(PretrainedConfig(num_labels=1, pad_token_id=0), table)
    config = LlamaConfig(
        vocab_size=len(table),
        hidden_size=width,
        intermediate_size=width,
        num_hidden_layers=1,
        num_attention_heads=4,
        max_position_embeddings=16,
        pad_token_id=0,
        eos_token_id=1,
    )
    model = LlamaForCausalLM(config)
    model.model.embed_tokens.weight = nn.Parameter(table * width**0.5, requires_grad=False)
    return model


def make_data(task: str, pairs: Array, is_wrong: Array) -> Dataset:
    """Return the pairs, with the answers of some of them swapped."""
    rows = []
    for number, ((positive, negative), swapped) in enumerate(zip(pairs.tolist(), is_wrong.tolist(), strict=True)):
        if task == "reward":
            prompt = {}
            answers = [word(positive), word(negative)]
        else:
            # Half of the prompts are positive reviews, the others negative ones.
            is_positive = number % 2 == 0
            prompt = {"prompt": word(positive if is_positive else negative)}
            answers = [" good", " bad"] if is_positive else [" bad", " good"]
        chosen, rejected = reversed(answers) if swapped else answers
        rows.append({**prompt, "chosen": chosen, "rejected": rejected})
    return Dataset.from_list(rows)


class SmoothedRewardTrainer(RewardTrainer):  # type: ignore[misc]
    """A reward trainer that is told the share of swapped pairs: cDPO's loss, or rDPO's unbiased one."""

    def __init__(self, *args: Any, share: float, is_unbiased: bool, **kwargs: Any) -> None:
        self.share = share
        self.is_unbiased = is_unbiased
        super().__init__(*args, **kwargs)

    def compute_loss(
        self, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """Return the loss of a training batch; in evaluation that of the trainer."""
        if not model.training:
            return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        chosen, rejected = model(**inputs).logits.squeeze(-1).chunk(2)
        loss = -F.logsigmoid(chosen - rejected)
        swapped_loss = -F.logsigmoid(rejected - chosen)
        if self.is_unbiased:
            return (((1 - self.share) * loss - self.share * swapped_loss) / (1 - 2 * self.share)).mean()
        return ((1 - self.share) * loss + self.share * swapped_loss).mean()


def make_trainer(task: str, method: str, share: float, data: Dataset, test: Dataset, folder: Path, **parts: Any) -> Any:
    """Return a trainer.

    Parameters
    ----------
    task : {"reward", "dpo"}
    method : {"plain", "cdpo", "rdpo", "auto", "told"}
    share : float
        The share of swapped pairs, which all methods but the first and ``"auto"`` are told.
    data, test : Dataset
    folder : Path
    **parts
        ``embeddings``, ``seed``.
    """
    embeddings = parts["embeddings"]
    model = make_model(task, embeddings, parts["seed"])
    options: dict[str, Any] = {
        "num_train_epochs": EPOCHS[task],
        "per_device_train_batch_size": BATCH_SIZE,
        "per_device_eval_batch_size": 400,
        "learning_rate": LEARNING_RATE[task],
        "lr_scheduler_type": "constant",
        "seed": parts["seed"],
        "eval_strategy": "epoch",
        "logging_strategy": "no",
        "save_strategy": "no",
        "report_to": [],
        "use_cpu": True,
        "bf16": False,
        "gradient_checkpointing": False,
        "disable_tqdm": True,
        "max_length": 16,
    }
    common: dict[str, Any] = {
        "train_dataset": data,
        "eval_dataset": test,
        "processing_class": tokenizer(len(embeddings)),
    }
    rrm: dict[str, Mapping[str, Any]] = {
        "auto": {"contamination": "auto"},
        "told": {"contamination": share},
    }
    if task == "reward":
        arguments = RewardConfig(str(folder), **options)
        if method in rrm:
            return RRMRewardTrainer(model, arguments, rrm=rrm[method], **common)
        if method == "plain":
            return RewardTrainer(model, arguments, **common)
        return SmoothedRewardTrainer(model, arguments, share=share, is_unbiased=method == "rdpo", **common)
    if method in ("cdpo", "rdpo"):
        options["loss_type"] = "robust"
        options["label_smoothing"] = share
    if method == "cdpo":
        # trl has no smoothed loss. With e = -s / (1 - 2 s), the unbiased loss ((1 - e) l(m) - e l(-m)) / (1 - 2 e) is
        # (1 - s) l(m) + s l(-m), that of labels smoothed by s.
        options["label_smoothing"] = -share / (1 - 2 * share)
    arguments = DPOConfig(str(folder), **options)
    common["ref_model"] = copy.deepcopy(model)
    if method in rrm:
        return RRMDPOTrainer(model, args=arguments, rrm=rrm[method], **common)
    return DPOTrainer(model, args=arguments, **common)
