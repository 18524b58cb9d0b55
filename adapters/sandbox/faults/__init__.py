"""The faults: their kinds and rules as plain data, one fault as a value, and the faults that are active now."""
