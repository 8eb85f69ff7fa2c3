"""What the studies share: problems, solvers by name, scoring, processes of their own, command line, tables, records."""
