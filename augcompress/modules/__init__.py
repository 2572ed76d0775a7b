"""What several rooms need of torch modules: evaluation mode, named points."""

from augcompress.modules.evaluation import in_evaluation
from augcompress.modules.points import DOMAIN, OPERATOR
