"""The stages. A wrong parameter is told here, before a stage imports anything heavy."""

import sys

try:
    from classifier.base.errors import UserError, one_line_errors
    from classifier.base.params import load_params, way_back
except ModuleNotFoundError as error:
    sys.exit(f"error: {sys.executable} has no {error.name}: . .venv/bin/activate comes before dvc")

with one_line_errors():
    try:
        load_params()
    except UserError as error:
        # The stage `check` was passed by: DVC was asked for this stage alone, and has deleted what
        # the stage had made, what git keeps of it too.
        way = way_back("git checkout params.yaml metrics plots && dvc checkout")
        raise UserError(f"{error}{way}") from error
