"""Driving with the keyboard among other agents, and watching policies: the command `play`."""
