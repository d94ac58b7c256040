"""Owns the attempts to get out of a sandbox. It must not be imported inside: its modules are sent there one by one."""
