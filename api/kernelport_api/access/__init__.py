"""The one decision of both doors: who makes a call, and whether they may."""
