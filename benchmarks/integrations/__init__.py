"""The same run in every framework, with and without RRM."""
