"""What every voice shares."""
