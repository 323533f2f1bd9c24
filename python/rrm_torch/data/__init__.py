"""Data sets: loaders, image files, label noise, augmentation."""
