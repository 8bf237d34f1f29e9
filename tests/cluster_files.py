"""cluster.yaml files for tests: one for named hosts, one for machines of a provider."""

from __future__ import annotations

import os

LOCAL = """\
cluster_name: lab
provider: {type: local, head_ip: 192.0.2.1, worker_ips: [192.0.2.2, 192.0.2.3]}
auth: {ssh_user: me, ssh_private_key: KEY}
file_mounts: {"~/.ray/auth_token": TOKEN}
setup_commands:
  - grep -q RAY_AUTH_MODE ~/.bashrc || echo 'export RAY_AUTH_MODE=token' >> ~/.bashrc
head_start_ray_commands:
  - ray stop
  - ray start --head --port=6380 --num-cpus=1 --num-gpus=0 --autoscaling-config=~/ray_bootstrap_config.yaml
worker_start_ray_commands:
  - ray stop
  - ray start --address=$RAY_HEAD_IP:6380 --num-cpus=4 --num-gpus=4
"""
CLOUD = """\
cluster_name: cloud
max_workers: 8
provider: {type: aws, region: us-west-2}
auth: {ssh_user: ubuntu}
available_node_types:
  head: {resources: {CPU: 0, GPU: 0}, node_config: {InstanceType: m5.xlarge}}
  gpu4: {min_workers: 1, max_workers: 6, resources: {CPU: 48, GPU: 4}, node_config: {InstanceType: g5.12xlarge}}
  gpu8: {max_workers: 2, resources: {CPU: 96, GPU: 8}, node_config: {InstanceType: p4d.24xlarge}}
head_node_type: head
file_mounts: {"~/.ray/auth_token": TOKEN}
setup_commands: ["pip install 'ray[default]==2.60.0'"]
head_start_ray_commands:
  - RAY_AUTH_MODE=token ray start --head --autoscaling-config=~/ray_bootstrap_config.yaml
worker_start_ray_commands: ["RAY_AUTH_MODE=token ray start --address=$RAY_HEAD_IP:6379"]
"""


def write_cluster(folder, text=LOCAL, *changes):
    """Write a cluster.yaml and its ssh key; each change is a pair of texts, what is there and what takes its place."""
    key = folder / "key"
    if not key.exists():
        key.touch()
        os.chmod(key, 0o600)
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    path = folder / "cluster.yaml"
    path.write_text(text.replace("KEY", str(key)).replace("TOKEN", str(folder / "token")))
    return path
