"""Generated code of the messages in ``protos/``."""
