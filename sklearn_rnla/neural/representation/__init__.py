"""What hidden activations span, and how alike those of two layers are."""
