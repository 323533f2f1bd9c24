"""Readers of labelled data: folders of images, tables, texts, arrays and data sets on disk."""
