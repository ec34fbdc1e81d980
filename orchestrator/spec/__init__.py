"""Sweep file: its sections, and the steps in which it is read, resolved and checked as a whole."""
