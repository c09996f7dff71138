"""`python -m posedeploy.synthetic.train`; see `posedeploy.synthetic.training.command`."""

import sys

from posedeploy.synthetic.training.command import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
