"""For the tests of those who extend Hangar: suites that say what an extension must hold. They need pytest."""
