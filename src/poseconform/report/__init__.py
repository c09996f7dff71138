"""From `results.json` to what a person reads: HTML, Markdown, terminal, diff, merge.

Everything here is a pure function of `Results`; nothing looks at the machine it runs on.  The
submodules are imported by name, so that reading results needs neither Jinja2 nor Rich.
"""
