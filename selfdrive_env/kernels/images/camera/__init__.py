"""What cameras on bodies see."""
