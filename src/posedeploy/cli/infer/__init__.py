"""`posedeploy infer`: sources, boxes, people, what is drawn and what is reported."""
