"""Fuzzers: inputs changed at random are refused with one clear error, or used, within limits.

`harness.fuzz` runs them. Input k follows from the fuzzer's seed and k alone, so a failure names all
that is needed to see it again:

    FUZZ_BUDGET=20000 pytest tests/fuzz/test_maps.py     # so many inputs, instead of some hundred
    FUZZ_ONLY=1234 pytest tests/fuzz/test_maps.py        # just this one

A new fuzzer is a module with a function that makes an input from a generator, one that uses it, and
a test that hands both to `harness.fuzz`.
"""
