"""Small networks trained from nothing on drawn figures, with mmpose's own models and losses.

`python -m posedeploy.synthetic.train MODEL` trains one; `RECIPES` holds a row a model. Reading the
table imports no torch.
"""

from posedeploy.synthetic.training.recipes import RECIPES, Recipe, recipe_of

__all__ = ["RECIPES", "Recipe", "recipe_of"]
