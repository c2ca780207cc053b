"""Small dense problems, solved exactly once a sketch has made them small."""
