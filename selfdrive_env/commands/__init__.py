"""The commands of `selfdrive` and `python -m selfdrive_env`; their options are in `options`."""
