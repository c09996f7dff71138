"""How well a model finds the joints of drawn figures that it has not seen."""

AREA = 0.53  # a person's part of the box; mmpose assumes it where no mask is at hand
