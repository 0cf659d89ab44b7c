"""The built-in importers and exporters, one module for each family of formats."""
