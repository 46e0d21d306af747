"""What every folder stands on: errors and suggestions, files, processes that the kernel confines. Knows no other folder."""
