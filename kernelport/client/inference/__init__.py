"""Runs requests on models: what becomes of inputs on their way out, and of answers on their way in."""
