"""Owns the capture of a sandbox's work from inside it: a program of its own that travels there as source.
It must not know the controller, leave a file behind or change a byte of what it reads. It needs Python 3.9, its
standard library, and git.
"""
