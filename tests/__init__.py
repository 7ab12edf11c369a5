"""Tests, with one thread of BLAS in each process: as many workers as cores run at once, and two threads of a small
product that wait for each other take many times as long as one.
"""

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as the command has it
