"""Alerts: rules over what calls were like lately, and ways to tell somebody."""
