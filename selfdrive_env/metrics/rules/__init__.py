"""Metrics of how one drives: faults, times to collision, lanes, lights, comfort."""
