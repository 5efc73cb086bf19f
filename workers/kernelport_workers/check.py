"""`python -m kernelport_workers.check`: says as JSON what keeps each deployment from running here."""

import json
import os
import sys

from kernelport.deployments import Deployment, load_deployments
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
    return None


def main() -> None:
    sys.path.append(os.getcwd())  # a pipeline may lie there
    deployments = load_deployments(Settings.from_environment().deployments_file)
    json.dump({name: problem_of(deployments[name]) for name in sorted(deployments)}, sys.stdout)


if __name__ == "__main__":
    main()
