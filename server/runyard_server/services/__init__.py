"""What may be asked, per noun."""
