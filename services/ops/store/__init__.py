"""One function is one statement on the ops database."""
