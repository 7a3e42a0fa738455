"""What is measured at the moment somebody asks."""
