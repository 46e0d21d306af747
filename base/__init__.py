"""Used by all other folders: errors and suggestions, files, confined processes. Imports none of them."""
