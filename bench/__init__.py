"""Measurements of wsx beside other clients: `python -m bench` runs them, README.md says what they mean."""
