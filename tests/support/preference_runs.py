"""Tiny language models and made-up preferences, for the tests of the trainers of trl."""

from __future__ import annotations

import copy
from typing import Any, NamedTuple

import torch
from datasets import Dataset
from tokenizers import Tokenizer, models, pre_tokenizers
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM, LlamaForSequenceClassification, PreTrainedTokenizerFast
from trl import DPOConfig, DPOTrainer, RewardConfig, RewardTrainer, SFTConfig, SFTTrainer

N_WORDS = 40


class Preferences(NamedTuple):
    """Pairs of answers, of which some are in the wrong order."""

    data: Dataset
    is_wrong: Tensor


def preferences(n: int, *, share: float = 0.3, seed: int = 0) -> Preferences:
    """Return n pairs: the better answer has words from the first half of the vocabulary."""
    generator = torch.Generator().manual_seed(seed)
    is_wrong = torch.rand(n, generator=generator) < share
    rows = []
    for swapped in is_wrong.tolist():
        answers = [_answer(0, generator), _answer(N_WORDS // 2, generator)]
        chosen, rejected = reversed(answers) if swapped else answers
        rows.append({"prompt": "w1", "chosen": f" {chosen}", "rejected": f" {rejected}"})
    return Preferences(Dataset.from_list(rows), is_wrong)


def _answer(first: int, generator: torch.Generator) -> str:
    """Return an answer of some words of the whole vocabulary and two from one half."""
    length = int(torch.randint(1, 4, (), generator=generator))
    words = torch.randint(0, N_WORDS, (length,), generator=generator).tolist()
    words += torch.randint(first, first + N_WORDS // 2, (2,), generator=generator).tolist()
    return " ".join(f"w{word}" for word in words)


def tokenizer() -> PreTrainedTokenizerFast:
    """Return a tokenizer of words, made on the spot."""
    names = ["<pad>", "<eos>", "<unk>", *(f"w{word}" for word in range(N_WORDS))]
    words = Tokenizer(models.WordLevel({name: i for i, name in enumerate(names)}, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=words, pad_token="<pad>", eos_token="<eos>", unk_token="<unk>")


def _config(**options: Any) -> LlamaConfig:
    return LlamaConfig(
        vocab_size=N_WORDS + 3,
        hidden_size=32,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=32,
        pad_token_id=0,
        eos_token_id=1,
        **options,
    )


def make_trainer(cls: type, folder: Any, data: Dataset, *, callbacks: Any = None, **options: Any) -> Any:
    """Return a trainer of trl on a tiny model; `options` are those of its configuration, `rrm` and `eval_dataset`."""
    trainer_options = {name: options.pop(name) for name in ("rrm", "eval_dataset") if name in options}
    torch.manual_seed(0)
    if issubclass(cls, RewardTrainer):
        model: Any = LlamaForSequenceClassification(_config(num_labels=1))
        config: type = RewardConfig
    else:
        model = LlamaForCausalLM(_config())
        config = DPOConfig if issubclass(cls, DPOTrainer) else SFTConfig
    if issubclass(cls, DPOTrainer):
        trainer_options["ref_model"] = copy.deepcopy(model)
    if issubclass(cls, SFTTrainer) and "chosen" in data.column_names:
        data = Dataset.from_dict({"text": data["chosen"]})
    defaults: dict[str, Any] = {
        "num_train_epochs": 3,
        "per_device_train_batch_size": 16,
        "learning_rate": 2e-3,
        "report_to": [],
        "logging_strategy": "no",
        "save_strategy": "no",
        "use_cpu": True,
        "disable_tqdm": True,
        "dataloader_pin_memory": False,
        "max_length": 32,
        "gradient_checkpointing": False,
        "bf16": False,
    }
    arguments = config(str(folder), **{**defaults, **options})
    return cls(
        model=model,
        args=arguments,
        train_dataset=data,
        processing_class=tokenizer(),
        callbacks=callbacks,
        **trainer_options,
    )


def parameters(trainer: Any) -> Tensor:
    """Return all parameters of a trainer's model in one vector."""
    return torch.cat([parameter.detach().flatten() for parameter in trainer.model.parameters()])
