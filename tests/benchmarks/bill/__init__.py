"""The parts of the bill of speed; see bill.py."""
