"""`posedeploy profile`: what is timed, how it is compared, and what is printed."""
