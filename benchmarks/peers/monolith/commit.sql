-- The least that an order could cost: one row, one commit.
INSERT INTO commits DEFAULT VALUES;
