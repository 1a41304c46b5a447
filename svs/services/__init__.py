"""What a person asks for: separate recordings, compare methods on test tracks, check the installation."""
