"""What a client leaves in its state folder, as a number, so that going back always works (ADR 0028).

1. A client that adds to the state (a table, a column, a key, a file) raises `STATE_FORMAT`, and leaves `READABLE_BY`
   if clients of that format pass over what they do not know.
2. What older clients could not live with raises `READABLE_BY` to the format that could: such a client is refused by
   devices that run an older one than that, and reaches them in two steps.
3. The state is never put back from a copy: samples, sequence numbers and metadata floors of the meantime would be lost
   with it.
"""

STATE_FORMAT = 1
READABLE_BY = 1
