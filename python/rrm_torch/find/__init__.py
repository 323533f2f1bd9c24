"""Wrong labels in data as people have them: readers of folders, tables, arrays and data sets on disk."""
