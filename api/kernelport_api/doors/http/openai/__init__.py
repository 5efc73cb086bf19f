"""What clients of OpenAI's API call: speech, models and voices, files and batches."""
