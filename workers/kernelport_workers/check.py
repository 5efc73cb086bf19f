"""`python -m kernelport_workers.check NAME...`: says as JSON what keeps each deployment from running here; with
`--revisions` before the names, the revision that a worker would serve now.

The first line is `{}`; then comes one for each deployment, in the order of the names, as soon as it is known.
"""

import json
import os
import sys

from kernelport.config.deployments import Deployment, load_deployments
from kernelport.config.manifests import ModelFilesError
from kernelport.config.settings import Settings
from kernelport.errors import in_words
from kernelport_workers.backends import loading
from kernelport_workers.backends.base import LoadError

REVISIONS = "--revisions"


def problem_of(deployment: Deployment) -> str | None:
    """What keeps the deployment from running on this machine, as far as can be told without loading it."""
    try:
        loading.find(deployment).check_requirements()
        if deployment.manifest is not None:
            deployment.manifest.resolve()
    except (LoadError, ModelFilesError) as error:
        return str(error)
    # One that cannot even be looked at must not hide the others.
    except Exception as error:
        return in_words(error)
    return None


def revision_of(deployment: Deployment) -> str | None:
    """The revision of the deployment, as its files and its code are now; None when that cannot be told."""
    try:
        return loading.revision(deployment)
    except LoadError:
        return None


def main() -> None:
    sys.path.append(os.getcwd())  # a pipeline may lie there
    names, look = sys.argv[1:], problem_of
    if names[:1] == [REVISIONS]:
        names, look = names[1:], revision_of
    deployments = load_deployments(Settings.from_environment().deployments_file)
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a pipeline's module prints is no JSON
    print("{}", file=answers, flush=True)
    for name in names or sorted(deployments):
        print(json.dumps({name: look(deployments[name])}), file=answers, flush=True)
    os._exit(0)  # a module may have started threads that do not end


if __name__ == "__main__":
    main()
