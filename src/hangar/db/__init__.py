"""The one LMDB environment of a repository: environment, typed tables, transactions, format version."""
