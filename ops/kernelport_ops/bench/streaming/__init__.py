"""Listeners who play speech as it comes, on one worker with one core: how soon, and what they miss."""
