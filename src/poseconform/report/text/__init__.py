"""The terminal summary, Markdown and GitHub output."""
