"""Everything people see in a terminal, in their language. Nothing below this layer prints."""
