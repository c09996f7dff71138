"""`python -m posedeploy`."""

from posedeploy.cli import main

if __name__ == "__main__":
    main()
