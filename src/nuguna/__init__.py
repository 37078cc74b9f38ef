"""nuguna: fine-tune a language model on anyone's own machine with one command."""

__version__ = "0.1.0"
