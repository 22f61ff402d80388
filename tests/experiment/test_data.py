"""Data sets come whole, from where they were asked for, and are cut fairly."""
