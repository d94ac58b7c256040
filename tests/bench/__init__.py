"""Owns measuring what pifleet promises about its own cost, beside the tools that people would use instead.
It must not decide what is good: every bar is a number of the table."""
