"""Weights that locate keypoints on the drawn data set, made by closed-form (ridge) fitting.

No gradient step and no network: some layers of an otherwise random, calibrated model are solved
for, one after another, from the input to the output.  `docs/weights.md` says what such weights
can and cannot tell.  Reading the table imports no torch.
"""

from posedeploy.synthetic.fitting.table import PLANS, can_fit, plan_key, why_not

__all__ = ["PLANS", "can_fit", "plan_key", "why_not"]
