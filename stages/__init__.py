"""The six stages. A wrong parameter is told here, before a stage imports anything heavy."""

from classifier.base.errors import one_line_errors
from classifier.base.params import load_params

with one_line_errors():
    load_params()
