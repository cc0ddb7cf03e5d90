"""Everything that services say to each other. Start with `contracts.topics`."""
