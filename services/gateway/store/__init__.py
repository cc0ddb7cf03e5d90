"""The gateway's SQL: one function per statement, a module per subject."""
