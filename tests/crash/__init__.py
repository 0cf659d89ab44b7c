"""What a crash, at any step, may leave: the harness, the scenarios and the tests over them."""
