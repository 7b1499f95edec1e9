"""What people type in, checked and turned into the types that the rest of the code works with."""
