"""Compiled arithmetic: numpy and numba only, no knowledge of studies, stores or schedulers."""
