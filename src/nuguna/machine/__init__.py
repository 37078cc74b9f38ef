"""What this computer is, and what a process of ours may do on it."""
