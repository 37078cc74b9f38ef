"""Models as data: what is known of them and whether they are safe to open. Nothing is loaded here."""
