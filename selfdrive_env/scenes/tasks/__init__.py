"""Situations by task and seed: small roads made in memory, and who drives on them."""
