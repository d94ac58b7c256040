"""Owns the far end of a return: what is in a place of the sandbox, and how a stored unit gets there whole.
It must not know the controller, or destroy anything that a person or an agent made. It needs Python 3.9 and git, and
reads what is there by the means of the capture.
"""
