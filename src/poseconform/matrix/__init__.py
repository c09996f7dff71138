"""Which cells there are: models, flows, and the weights that a cell is judged with."""
