"""The language of mappings: what a file says, and the code that its expressions and templates become."""
