"""The files on the page of many machines, which need Slurm or Kubernetes to run, can be read by them."""

import re
import subprocess
from pathlib import Path

import pytest
import yaml

PAGE = (Path(__file__).parents[2] / "docs" / "scale.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
SHELL = [text for kind, text in BLOCKS if kind in ("", "bash")]


@pytest.mark.parametrize("text", SHELL)
def test_scripts_are_scripts(text):
    subprocess.run(["bash", "-n"], input=text, text=True, check=True)


def test_manifests_start_what_hosts_start():
    (manifests,) = (text for kind, text in BLOCKS if kind == "yaml")
    service, job = yaml.safe_load_all(manifests)
    assert (service["kind"], job["kind"]) == ("Service", "Job")
    pod = job["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    words = [*container["command"], *container["args"]]
    assert pod["subdomain"] == service["metadata"]["name"]
    assert int(words[words.index("--nnodes") + 1]) == job["spec"]["completions"] == job["spec"]["parallelism"]
    others = [re.split(r"[\s\\]+", text) for text in SHELL if "--max-restarts" in text]
    assert len(others) == 2
    for other in others:
        flags = [word for word in other if word.startswith("--rdzv") and word != "--rdzv-conf"]
        assert flags == [word for word in words if word.startswith("--rdzv")]
    for text in SHELL[:2]:
        assert "export TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1" in text
    assert {"name": "TORCH_DISABLE_SHARE_RDZV_TCP_STORE", "value": "1"} in container["env"]
