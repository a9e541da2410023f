"""Conditions of an allow: second factor, recent sign-in, network, time of the week, label of the account."""
