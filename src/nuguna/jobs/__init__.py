"""What each command does, without a screen."""
