"""Allocates memory until it is stopped."""

import os

held = []
while True:
    held.append(os.urandom(1 << 20))
