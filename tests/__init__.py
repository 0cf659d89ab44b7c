"""The tests of Hangar. They mirror ``src/hangar``; helpers are imported as ``tests.room.module``."""
