"""Data sets: loaders that yield each sample's index, image files, label noise, augmentation."""

from . import augmentation, noise
from .images import ImageData, load
from .loaders import Indexed, batches

__all__ = ["ImageData", "Indexed", "augmentation", "batches", "load", "noise"]
