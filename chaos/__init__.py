"""Faults against the whole pipeline as real processes: it must lose nothing and count nothing twice.

The number of kills and a seed come in.
Out comes a table of faults, with any difference from an undisturbed run.
"""
