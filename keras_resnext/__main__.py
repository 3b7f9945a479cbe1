"""`python -m keras_resnext`, the same as the command `keras-resnext`."""

import sys

from keras_resnext.cli import main

if __name__ == "__main__":
    sys.exit(main())
