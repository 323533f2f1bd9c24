"""Data sets: loaders that yield each sample's index, image files, label noise, augmentation."""

from . import augmentation, noise
from .image_files import ImageFiles
from .images import ImageData, load
from .loaders import Indexed, batches

__all__ = ["ImageData", "ImageFiles", "Indexed", "augmentation", "batches", "load", "noise"]
