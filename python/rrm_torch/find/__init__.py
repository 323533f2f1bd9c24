"""The command ``find``: wrong labels in data as people have them.

`readers` read the data, `search` trains a model and lists label issues, `output_folder` writes the page and the lists.
"""
