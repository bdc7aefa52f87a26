"""What the report draws: every function returns bytes with words that say what they show."""
