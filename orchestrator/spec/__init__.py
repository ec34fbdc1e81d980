"""Sweep file: its sections, and how it is read, resolved and checked as a whole."""
