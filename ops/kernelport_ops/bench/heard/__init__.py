"""How many words of a voice an independent recognizer hears as they were written."""
