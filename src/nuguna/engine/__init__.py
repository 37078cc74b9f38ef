"""The compute core: where the adapter sits, and the loss it is trained on."""
