"""`python -m kernelport_workers.check`: says as JSON what keeps each deployment from running here."""

import contextlib
import json
import os
import sys

from kernelport.deployments import Deployment, load_deployments
from kernelport.errors import in_words
from kernelport.manifests import ModelFilesError
from kernelport.settings import Settings
from kernelport_workers import backends
from kernelport_workers.backends.base import LoadError


def problem_of(deployment: Deployment) -> str | None:
    """What keeps the deployment from running on this machine, as far as can be told without loading it."""
    try:
        backends.find(deployment).check_requirements()
        if deployment.manifest is not None:
            deployment.manifest.resolve()
    except (LoadError, ModelFilesError) as error:
        return str(error)
    # One that cannot even be looked at must not hide the others.
    except Exception as error:
        return in_words(error)
    return None


def main() -> None:
    sys.path.append(os.getcwd())  # a pipeline may lie there
    deployments = load_deployments(Settings.from_environment().deployments_file)
    with contextlib.redirect_stdout(sys.stderr):  # what a pipeline's module prints is no JSON
        problems = {name: problem_of(deployments[name]) for name in sorted(deployments)}
    json.dump(problems, sys.stdout)


if __name__ == "__main__":
    main()
