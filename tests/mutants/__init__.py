"""Small mistakes put into the pure modules, one at a time, to see whether the tests notice them."""
