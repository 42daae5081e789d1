"""The ledger: a row of each call, handed to the operating system before the call's end is told."""
