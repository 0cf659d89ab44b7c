"""The built-in importers and exporters, one file a family of formats."""
